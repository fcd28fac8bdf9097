"""What headers say of voxels and optics: taken where it can be, told where not, written back."""

import numpy as np
import pytest
import tifffile

from microdeconv.io.tiff import open_stack, read_header
from microdeconv.io.writer import write_stack
from microdeconv.optics import Optics
from microdeconv.stack import Channel, Stack, Zyx

PIXELS = np.random.default_rng(0).integers(0, 200, (4, 6, 7)).astype(np.uint16)
OME = """<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">
<Instrument ID="Instrument:0"><Objective ID="Objective:0" {objective}/></Instrument>
<Image ID="Image:0"><ObjectiveSettings ID="Objective:0" RefractiveIndex="1.518"/>
<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="7" SizeY="6" SizeZ="4" SizeC="1" SizeT="1" {sizes}>
<Channel ID="Channel:0:0" AcquisitionMode="LaserScanningConfocalMicroscopy" {channel}/>
<TiffData/></Pixels></Image></OME>"""
OBJECTIVE = 'LensNA="1.4" NominalMagnification="63"'
SIZES = 'PhysicalSizeX="0.1" PhysicalSizeY="0.1" PhysicalSizeZ="0.3"'
AIRY = 1.22 * 0.52 / 1.4 * 63  # µm


def ome(folder, objective=OBJECTIVE, sizes=SIZES, channel='EmissionWavelength="520"'):
    xml = OME.format(objective=objective, sizes=sizes, channel=channel)
    tifffile.imwrite(folder / "a.ome.tif", PIXELS, description=xml.encode(), metadata=None, photometric="minisblack")
    return folder / "a.ome.tif"


def written(stack, folder, container, name="b.tif"):
    write_stack(folder / name, stack.header, stack.volumes(), {"x": 1}, container=container, overwrite=True)
    return open_stack(folder / name)


@pytest.mark.parametrize("unit", ['"', '" PinholeSizeUnit="µm"', 'e-3" PinholeSizeUnit="mm"'])
def test_pinhole_in_airy_units_and_back(tmp_path, unit):
    channel = f'EmissionWavelength="520" PinholeSize="{1.5 * AIRY}{unit}'
    stack = open_stack(ome(tmp_path, channel=channel))
    assert stack.header.channels[0].optics.pinhole_au == pytest.approx(1.5)
    assert stack.header.notes == ()
    again = written(stack, tmp_path, "ome", "b.ome.tif")
    assert again.header.channels[0].optics.pinhole_au == pytest.approx(1.5)
    with tifffile.TiffFile(tmp_path / "b.ome.tif") as file:
        assert f'PinholeSize="{1.5 * AIRY:.9g}" PinholeSizeUnit="µm"' in file.ome_metadata
        assert 'NominalMagnification="63"' in file.ome_metadata


@pytest.mark.parametrize(
    ("objective", "channel", "said"),
    [
        ('LensNA="1.4"', 'EmissionWavelength="520"', "not the magnification, so"),
        ('NominalMagnification="63"', 'EmissionWavelength="520"', "not NA, so"),
        ('LensNA="1.4"', "", "not the emission wavelength and the magnification, so"),
        ('LensNA="1.4" NominalMagnification="0.001"', 'EmissionWavelength="520"', "Airy units, which cannot be"),
    ],
)
def test_a_pinhole_that_cannot_be_told_is_no_silent_loss(tmp_path, objective, channel, said):
    header = read_header(ome(tmp_path, objective, channel=f'{channel} PinholeSize="50"'))
    assert header.channels[0].optics.pinhole_au is None
    (note,) = header.notes
    assert note.startswith("channel 0: the OME header gives a pinhole of 50 µm")
    assert said in note
    assert note.endswith("give --pinhole")


def imagej(folder, pixel=0.1, **metadata):
    described = {"axes": "ZYX", "unit": "micron", **metadata}
    tifffile.imwrite(folder / "a.tif", PIXELS, imagej=True, resolution=(1 / pixel, 1 / pixel), metadata=described)
    return read_header(folder / "a.tif")


@pytest.mark.parametrize("unit", ["micron", "um"])
def test_imagej_default_spacing_is_told(tmp_path, unit):
    header = imagej(tmp_path, 0.065, spacing=1.0, unit=unit)
    assert header.voxel_um.z == 1
    assert header.notes == (
        f"the ImageJ header gives a z step of 1 {unit}, its default: if nobody set it, give --voxel",
    )
    assert imagej(tmp_path, 0.8, spacing=1.0).notes == ()


@pytest.mark.parametrize(("z", "odd"), [(0.04, True), (0.06, False), (0.9, False), (1.1, True), (3, True)])
def test_odd_ratios_are_asked_about(tmp_path, z, odd):
    notes = imagej(tmp_path, 0.1, spacing=z).notes
    assert bool(notes) == odd
    if odd:
        assert "odd x:z ratio" in notes[0]


@pytest.mark.parametrize("z", [0, -0.3, float("nan"), 1e6])
def test_a_z_step_that_cannot_be(tmp_path, z):
    told = f"gives a z step of {z:g} µm, which cannot be: give --voxel"
    header = imagej(tmp_path, spacing=z)
    assert header.notes == (f"the ImageJ header {told}",)
    assert np.isnan(header.voxel_um.z)
    header = read_header(ome(tmp_path, sizes=f'PhysicalSizeX="0.1" PhysicalSizeY="0.1" PhysicalSizeZ="{z}"'))
    assert header.notes == (f"the OME header {told}",)
    assert header.voxel_um.x == 0.1


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ('PhysicalSizeX="0" PhysicalSizeY="0"', "a pixel size of 0 µm, which cannot be"),
        ('PhysicalSizeX="-1" PhysicalSizeY="0.1"', "a pixel size of -1 µm"),
        ('PhysicalSizeX="NaN" PhysicalSizeY="0.1"', "a pixel size of nan µm"),
        ('PhysicalSizeX="1" PhysicalSizeXUnit="m" PhysicalSizeY="0.1"', "a pixel size of 1e+06 µm"),
        ('PhysicalSizeX="0.1"', "one side of a pixel only"),
        (
            'PhysicalSizeX="1" PhysicalSizeXUnit="pixel" PhysicalSizeY="1" PhysicalSizeYUnit="pixel"',
            "voxel sizes in 'pixel': not taken for µm",
        ),
    ],
)
def test_a_pixel_size_that_cannot_be(tmp_path, sizes, said):
    header = read_header(ome(tmp_path, sizes=sizes))
    assert header.voxel_um is None
    (note,) = header.notes
    assert said in note
    assert note.endswith("give --voxel")


def test_a_plain_file_keeps_its_z_step(tmp_path):
    stack = Stack.of(PIXELS, "ZYX", Zyx(0.3, 0.1, 0.12))
    again = written(stack, tmp_path, "plain")
    assert again.header.container == "plain"
    assert again.header.voxel_um == pytest.approx((0.3, 0.1, 0.12))
    flat = Stack.of(PIXELS, "ZYX", Zyx(float("nan"), 0.1, 0.1), extras=dict(again.header.extras))
    assert np.isnan(written(flat, tmp_path, "plain").header.voxel_um.z)


@pytest.mark.parametrize(
    ("metadata", "resolution", "unit", "voxel"),
    [
        ({"spacing": 0.3, "unit": "um"}, (10, 10), "NONE", (0.3, 0.1, 0.1)),
        ({"spacing": 300, "unit": "nm"}, (1e5, 1e5), "CENTIMETER", (0.3, 0.1, 0.1)),
        ({"PhysicalSizeZ": 0.3, "PhysicalSizeY": 0.1, "PhysicalSizeX": 0.1}, None, None, (0.3, 0.1, 0.1)),
        ({"spacing": 0.3, "unit": "um"}, (72, 72), "INCH", None),
        ({"spacing": 0.3}, (1e5, 1e5), "CENTIMETER", (float("nan"), 0.1, 0.1)),
        ({"spacing": "thick", "unit": "um"}, (1e5, 1e5), "CENTIMETER", (float("nan"), 0.1, 0.1)),
    ],
)
def test_descriptions_of_plain_files(tmp_path, metadata, resolution, unit, voxel):
    where = {"resolution": resolution, "resolutionunit": unit} if resolution else {}
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, photometric="minisblack", metadata=metadata, **where)
    header = read_header(tmp_path / "a.tif")
    if voxel is None:
        assert header.voxel_um is None
    else:
        assert header.voxel_um == pytest.approx(voxel, nan_ok=True)


def test_regions_and_overlays_of_imagej_are_written_back(tmp_path):
    marks = {"ROI": b"Iout\x00\xe3first", "Overlays": [b"Iout\x00\xe3second", b"Iout\x00\xe3third, longer"]}
    imagej(tmp_path, spacing=0.3, **marks)
    again = written(open_stack(tmp_path / "a.tif"), tmp_path, "imagej")
    assert {k: again.header.extras[k] for k in marks} == marks
    assert again.header.voxel_um == pytest.approx((0.3, 0.1, 0.1), rel=1e-5)
    single = marks | {"Overlays": [b"Iout one"]}
    imagej(tmp_path, spacing=0.3, **single)
    again = written(open_stack(tmp_path / "a.tif"), tmp_path, "imagej")
    assert again.header.extras["Overlays"] in (b"Iout one", [b"Iout one"])


def test_optics_without_a_magnification_are_written_without_a_pinhole(tmp_path):
    optics = Optics(na=1.2, emission_nm=520, ri_immersion=1.33, modality="confocal", pinhole_au=1.0)
    stack = Stack.of(PIXELS, "ZYX", Zyx(0.3, 0.1, 0.1), channels=(Channel(optics=optics),))
    again = written(stack, tmp_path, "ome", "b.ome.tif")
    assert again.header.channels[0].optics == Optics(na=1.2, emission_nm=520, ri_immersion=1.33, modality="confocal")

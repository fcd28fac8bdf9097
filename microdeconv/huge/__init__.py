"""One huge stack: cut into tiles that many processes and machines do, joined to one OME-Zarr."""

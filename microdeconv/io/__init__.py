"""Files: read, written, pictured; the only room besides the command line that touches the disk."""

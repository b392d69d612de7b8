"""The only room that knows MRML: volume, segmentation and table nodes. Works in Slicer and on slicer-core."""

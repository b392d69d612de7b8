"""DICOM SEG and SR of a result, and DICOM SEG as a segmentation to measure. Needs highdicom, which nothing else does."""

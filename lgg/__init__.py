"""Low-grade glioma segmentation in brain MRI: reading, gate and segmenters, pictures and export."""

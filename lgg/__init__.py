"""Low-grade glioma segmentation in brain MRI slices. Research only, not a medical device."""

"""Synthetic MRI slices: the anatomy of the ICBM 152 template, seen as a clinical scanner would see it.

The examples in `lgg/examples/` are made here, because no patient's image may stand in the repository.
`anatomy` makes one person's head from the template, `scanner` grows gliomas in it and takes the three
sequences, `python -m tools.phantoms` writes six cases. Needs nilearn and nibabel (requirements-train.txt).
"""

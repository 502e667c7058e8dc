"""Model cards: everything in them comes from `config.json`, and the Hub can read it."""

from dataclasses import replace

import pytest
from huggingface_hub import ModelCard

from lgg.models import GATE
from lgg.weights import ModelConfig
from tests.tiny_weights import METRICS
from train.report.model_card import card_text

PATIENTS = ["TCGA_CS_3_20000101", "TCGA_HT_4_20000101", "TCGA_HT_5_20000101"]
CONFIG = ModelConfig(
    architecture="unet-mini",
    input_size=128,
    parameters=1_797_985,
    data="kaggle_3m",
    split={"protocol": "patient", "train": PATIENTS, "test": list(METRICS["patients"])},
    recipe=[{"epochs": 7, "slices_per_epoch": 99, "size": 128, "loss": "dice_bce"}],
    training={"initialised": "scratch", "best_epoch": 6, "minutes": 12.5, "hardware": "a fast machine"},
    metrics=METRICS,
    date="2026-11-22",
)


def section(text: str, title: str) -> str:
    """The text under a heading."""
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_the_model_index_holds_the_measured_figures():
    data = ModelCard(card_text(CONFIG)).data
    assert data.license == "cc-by-nc-sa-4.0"
    assert data.pipeline_tag == "image-segmentation"
    (result,) = data.eval_results
    assert (result.metric_type, result.metric_value) == ("dice", 0.8123)
    assert result.dataset_config == "patient protocol"


def test_the_front_matter_names_the_imagenet_weights_that_the_first_stage_began_from():
    first = {"initialised": "imagenet", "sha256": "abc", "stages": [], "minutes": 60}
    later = CONFIG.training | {"initialised": "weights", "start": first}
    lite0 = replace(CONFIG, architecture="unet-lite0", training=later)
    assert ModelCard(card_text(lite0)).data.base_model == ["timm/tf_efficientnet_lite0.in1k"]
    scratch = replace(lite0, training=CONFIG.training)
    assert ModelCard(card_text(scratch)).data.base_model is None


@pytest.mark.parametrize("before", [False, True])
def test_a_mean_of_weights_says_whose(before):
    averaged = {"averaged": [{"sha256": "abc", "recipe": "cpu (seed 7)", "minutes": 9}]}
    training = CONFIG.training | averaged
    if before:
        training = CONFIG.training | {"start": training | {"sha256": "abc", "stages": []}}
    said = section(card_text(replace(CONFIG, training=training)), "Training")
    assert "averaged with 1 that went on from them (cpu (seed 7), 9 minutes)" in said


def test_a_gate_is_a_classifier():
    assert (
        ModelCard(card_text(replace(CONFIG, architecture=GATE))).data.pipeline_tag == "image-classification"
    )


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("How to load", 'from_pretrained(architecture="unet-mini")'),
        ("Use", "Not for diagnosis"),
        ("Input and output", "pre-contrast T1, FLAIR, post-contrast T1"),
        ("Training", "3 train, 2 test"),
        ("Training", "12.5 minutes on a fast machine; 2026-11-22"),
        ("Evaluation", "| Dice a volume, mean | 0.812 | 0.700 to 0.900 |"),
        ("By site", "| Thomas Jefferson University | 1 | 1 | 0.900 | 0.900 |"),
        ("By site", "| Henry Ford Hospital | 0 | 1 | 0.725 | 0.725 |"),
        ("By site", "| Case Western, St. Joseph's | 2 | 0 | not tested |  |"),
        ("Limits", "without its neighbours"),
        ("Licence and citation", "CC BY-NC-SA 4.0"),
        ("Licence and citation", "Buda, Saha, Mazurowski"),
    ],
)
def test_each_section_says_its_piece(title, words):
    assert words in section(card_text(CONFIG), title)


@pytest.mark.parametrize(
    ("architecture", "hints", "words"),
    [
        ("unet-mini", 1, "half of the loss and hints to the inner layers by the teacher unet-lite0"),
        ("unet-mini", 0, "; half of the loss by the teacher unet-lite0"),
        (GATE, 2, "; hints to the inner layers by the teacher unet-lite0"),
    ],
)
def test_a_teacher_is_named_with_what_it_taught(architecture, hints, words):
    training = {**CONFIG.training, "teacher": "unet-lite0"}
    recipe = [{**CONFIG.recipe[0], "hints": hints}]
    taught = replace(CONFIG, architecture=architecture, training=training, recipe=recipe)
    assert words in section(card_text(taught), "Training")


def test_a_name_of_another_shape_is_of_another_site():
    text = card_text(replace(CONFIG, split=CONFIG.split | {"train": [*PATIENTS, "CASE_01"]}))
    assert "| other | 1 | 0 | not tested |  |" in section(text, "By site")


def test_a_gates_sites_hold_no_segmenters_figures():
    table = section(card_text(replace(CONFIG, architecture=GATE)), "By site")
    assert "| Thomas Jefferson University | 1 | 1 |\n" in table
    assert "0.9" not in table


def test_figures_of_the_slice_protocol_are_called_flattering():
    assert "flatter" not in card_text(CONFIG)
    split = {"protocol": "slice", "train": 3000, "test": 393}
    text = card_text(replace(CONFIG, split=split, metrics=METRICS | {"protocol": "slice"}))
    assert "flatter" in section(text, "Evaluation")
    assert "3000 train, 393 test" in section(text, "Training")


def test_what_was_not_measured_is_not_shown():
    text = card_text(replace(CONFIG, metrics={}, training={}, split={}))
    assert "Not measured yet." in section(text, "Evaluation")
    assert "Not trained." in section(text, "Training")
    assert "Not known" in section(text, "By site")
    assert ModelCard(text).data.eval_results is None


def test_a_measure_without_a_value_is_left_out():
    nothing = {"value": None, "low": None, "high": None, "n": 0}
    metrics = METRICS | {"measures": METRICS["measures"] | {"pooled": nothing}}
    assert card_text(replace(CONFIG, metrics=metrics)) == card_text(CONFIG)

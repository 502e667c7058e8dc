"""What a whole series says: volume and slices."""

from dataclasses import replace

import pytest

from lgg.postprocess import redecide
from tests.series_results import THRESHOLDS, result

FOUND = result([0.1, 0.9, 0.95, 0.2], [0, 4, 8, 0], (0.5, 0.75), 5.0, ["1 slice seems to be missing."])
UNSPACED = result([0.1, 0.9, 0.95, 0.2], [0, 4, 8, 0])
EMPTY = result([0.1, 0.3, 0.2], [0, 0, 0])


class TestResult:
    def test_volume_is_voxels_times_the_three_distances(self):
        assert FOUND.voxels == 16 + 64
        assert FOUND.volume_ml == pytest.approx(80 * 0.5 * 0.75 * 5 / 1000)

    def test_without_a_distance_there_is_no_volume(self):
        assert UNSPACED.volume_ml is None
        assert result([0.9], [4], (0.5, 0.5)).volume_ml is None

    def test_slices_count_from_one(self):
        assert FOUND.with_tumour == FOUND.suspected == (2, 3)
        assert FOUND.most_telling == 3
        assert EMPTY.most_telling == 2, "where nothing is outlined, the gate says where to look"

    def test_other_thresholds_decide_anew(self):
        stricter = redecide(FOUND, replace(THRESHOLDS, mask=0.8))
        assert stricter.voxels == 0
        looser = redecide(FOUND, replace(THRESHOLDS, mask=0.05))
        assert looser.areas == (0, 40 * 32, 40 * 32, 0), "what the gate does not pass stays empty"
        assert redecide(FOUND, THRESHOLDS).areas == FOUND.areas

    def test_what_no_neighbour_confirms_is_left_out_by_whatever_thresholds(self):
        sides = [0, 0, 6, 6, 6, 0, 0, 6, 0, 0]
        made = redecide(result([0.9] * 10, sides), replace(THRESHOLDS, mask=0.6))
        assert made.with_tumour == (3, 4, 5)
        assert made.predictions[7].passed, "the gate's word is not changed by it"
        too_few = redecide(result([0.9] * 9, sides[:9]), replace(THRESHOLDS, mask=0.6))
        assert too_few.with_tumour == (3, 4, 5, 8)

"""Mistakes planted on purpose, one at a time, each with the test that must notice it.

``python -m tests.mutations`` plants each in a copy of the package and runs its test there; a
mutation that survives is a hole in the tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLAIN = "tests/methods/test_plain_forms.py::test_the_loss_and_its_gradient_equal_the_plain_form"
ACTS = "tests/methods/test_settings_act.py::test_every_setting_acts"
CARD = "tests/methods/test_cards.py::test_the_card_is_as_reviewed"
JUDGED = "tests/comparison/test_judged.py"
COPY = "tests/methods/test_copies.py::test_the_copy_follows_the_online_network"


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """One planted mistake.

    Attributes:
        what: The mistake in words.
        file: The file under ``src/nearfar``.
        old: What stands there.
        new: What takes its place.
        test: The test that must fail.
    """

    what: str
    file: str
    old: str
    new: str
    test: str


MUTATIONS = (
    Mutation(
        what="SimSiam predicts its own view",
        file="methods/distillation/simsiam.py",
        test=f"{PLAIN}[simsiam-small]",
        old='"z1": z1.detach(), "z2": z2.detach()}',
        new='"z1": z2.detach(), "z2": z1.detach()}',
    ),
    Mutation(
        what="BYOL's loss compares a prediction with its own view",
        file="methods/distillation/byol.py",
        test=f"{PLAIN}[byol-small]",
        old='"target1": target1, "target2": target2}',
        new='"target1": target2, "target2": target1}',
    ),
    Mutation(
        what="SimCLR ignores its temperature",
        file="methods/instance/simclr.py",
        test=f"{ACTS}[simclr]",
        old="temperature=self.settings.temperature",
        new="temperature=0.1",
    ),
    Mutation(
        what="AdaInf ignores its temperature",
        file="methods/instance/adainf.py",
        test=f"{ACTS}[adainf]",
        old="temperature=self.settings.temperature",
        new="temperature=0.2",
    ),
    Mutation(
        what="GroCo ignores the steepness",
        file="methods/instance/groco.py",
        test=f"{ACTS}[groco]",
        old='"steepness": s.steepness',
        new='"steepness": 1.0',
    ),
    Mutation(
        what="Barlow Twins gets symmetric views",
        file="methods/redundancy/barlow_twins.py",
        test=f"{CARD}[barlow-twins]",
        old='wanted_views = WantedViews(style="asymmetric")',
        new="wanted_views = WantedViews()",
    ),
    Mutation(
        what="VICReg's projector has no batch norm",
        file="methods/redundancy/vicreg.py",
        test=f"{CARD}[vicreg]",
        old="last_bias=False)",
        new="last_bias=False, hidden_norm=False)",
    ),
    Mutation(
        what="DINO's momentum never rises",
        file="methods/distillation/dino.py",
        test=f"{COPY}[dino]",
        old="cosine_momentum(self.settings.momentum, self.progress)",
        new="self.settings.momentum",
    ),
    Mutation(
        what="the loop leaves progress at 0",
        file="training/running.py",
        test="tests/training/test_progress.py::test_progress_grows_from_nothing_to_all",
        old="self.trained.progress = self._share()",
        new="self.trained.progress = 0.0",
    ),
    Mutation(
        what="SupCon's paper rate is a hundred times too large",
        file="methods/supervised/supcon.py",
        test=f"{CARD}[supcon]",
        old="learning_rate=0.05",
        new="learning_rate=5.0",
    ),
    Mutation(
        what="ScatSimCLR lacks its jigsaw term",
        file="methods/instance/scatsimclr.py",
        test=f"{PLAIN}[scatsimclr-jigsaw]",
        old='if self.settings.pretext == "jigsaw":\n            answer',
        new="if False:\n            answer",
    ),
    Mutation(
        what="a host is not told the progress",
        file="methods/method.py",
        test="tests/methods/test_hosting.py::test_the_host_knows_the_progress[hallucinator]",
        old="host.progress = share",
        new="pass",
    ),
    Mutation(
        what="a range is never checked",
        file="ranges.py",
        test="tests/test_ranges.py::test_options_have_ranges_too",
        old="return over and under",
        new="return True",
    ),
    Mutation(
        what="a verdict takes more for better, whatever the metric",
        file="comparison/verdict.py",
        test=f"{JUDGED}::test_less_is_better_where_the_metric_says_so",
        old='return -self.of.value if self.better == "lower" else self.of.value',
        new="return self.of.value",
    ),
    Mutation(
        what="a method is held beside any row of the table",
        file="comparison/judged.py",
        test=f"{JUDGED}::test_a_method_is_held_beside_what_it_must_beat_and_nothing_else",
        old="return [row for row in wanted if row in rows]",
        new="return sorted(rows - {'trained'})",
    ),
    Mutation(
        what="a study ranks the worst first",
        file="studies/outcome.py",
        test="tests/studies/test_study.py::"
        "test_ranks_are_means_over_conditions_and_ties_share_their_places",
        old='if comparison.direction(metric) != "lower":',
        new='if comparison.direction(metric) == "lower":',
    ),
    Mutation(
        what="a step's draws are those of the step before",
        file="targets/step_generator.py",
        test="tests/targets/test_step_generator.py::test_a_step_has_its_own_draws",
        old="self._known = self._known[0], self._known[1] + 1",
        new="self._known = self._known[0], self._known[1]",
    ),
    Mutation(
        what="each sample sees a graph of its own",
        file="views/nodes.py",
        test="tests/methods/test_nodes.py::test_every_sample_sees_the_same_graph",
        old="drawn = torch.randint(2**52, (2,), generator=generator, device=generator.device)",
        new="drawn = torch.randint(2**52, (2,), device=generator.device) + len(nodes)",
    ),
)


def survives(mutation: Mutation) -> bool:
    """Whether the test passes in spite of the mutation.

    Raises:
        ValueError: If what should be replaced does not stand in the file exactly once.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        _copied(copy)
        path = copy / "src" / "nearfar" / mutation.file
        text = path.read_text(encoding="utf-8")
        if text.count(mutation.old) != 1:
            raise ValueError(
                f"{mutation.file} holds {mutation.old!r} {text.count(mutation.old)} times, not "
                "once."
            )
        path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
        return _passes(copy, mutation.test)


def pass_unchanged(mutations: Sequence[Mutation] = MUTATIONS) -> bool:
    """Whether all tests pass in a copy without any mutation, so that it is the mutation that fails
    them.
    """
    with tempfile.TemporaryDirectory() as folder:
        _copied(Path(folder))
        return _passes(Path(folder), *dict.fromkeys(mutation.test for mutation in mutations))


def _copied(folder: Path) -> None:
    """The package and its tests, as they stand."""
    shutil.copytree(
        ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)


def _passes(folder: Path, *tests: str) -> bool:
    environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        *tests,
    ]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(
            f"pytest ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return done.returncode == 0


def main(mutations: Sequence[Mutation] = MUTATIONS) -> int:
    """Plant all of them; 1 if any survives."""
    if not pass_unchanged(mutations):
        print("the tests fail without any mutation")
        return 1
    lived = [mutation for mutation in mutations if survives(mutation)]
    for mutation in mutations:
        print(
            f"{'SURVIVED' if mutation in lived else 'killed':<9} {mutation.what} ({mutation.test})"
        )
    return 1 if lived else 0


if __name__ == "__main__":
    sys.exit(main())

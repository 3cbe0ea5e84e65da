"""`fewmask compare`."""

from pathlib import Path
from typing import Annotated

import typer

from fewmask.cli.console import console
from fewmask.errors import UserError, choices
from fewmask.say import say


def compare(
    source: Annotated[Path, typer.Argument(metavar="DATA|RECIPE", help="A dataset folder, or a recipe file.")],
    methods: Annotated[str, typer.Option(help="Methods with commas between them, or all; a wrong name lists them.")],
    out: Annotated[Path, typer.Option(help="The folder of the comparison; the same command goes on there.")],
    labels: Annotated[
        str, typer.Option(help="Sets of masks: 12,1/30,1/8. A folder has a list for each seed: seed0.txt, seed1.txt.")
    ] = "1/8",
    seeds: Annotated[int, typer.Option(min=1, help="How many draws of the masks, each with a seed of its own.")] = 3,
    first_seed: Annotated[int, typer.Option(min=0, help="The seed of the first draw.")] = 0,
    budget: Annotated[
        str, typer.Option(help="What is equal for all runs: steps, forwards (passes with gradient) or minutes.")
    ] = "steps",
    arm: Annotated[
        str, typer.Option(help="harness: the same settings for all; own: those of each paper; or both.")
    ] = "harness",
    preset: Annotated[
        str | None,
        typer.Option(help="Network, crops and steps: small, base or large. Default for a folder: small on a CPU."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="How many runs go side by side.")] = 1,
    devices: Annotated[str, typer.Option(help="What these run on in turn: numbers of GPUs, or cpu.")] = "",
    cluster: Annotated[str | None, typer.Option(help="Send the runs to a cluster: slurm, or local to try it.")] = None,
    cluster_settings: Annotated[
        list[str] | None,
        typer.Option("--cluster-set", metavar="KEY=VALUE", help="What a job asks for: slurm_partition=gpu."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Settings of all runs: training.steps=2000 data.resize=0.5."),
    ] = None,
) -> None:
    """Train methods under identical conditions, and say what each gives over the supervised baseline."""
    from fewmask.recipe import parse_settings
    from fewmask.study.compare import ARMS, BUDGETS, Study, StudyFolder, compare, launcher_for, plan_study
    from fewmask.training.stopping import Interrupted

    arms = {name: (name,) for name in ARMS} | {"both": ARMS}
    budgets = {str(name): name for name in BUDGETS}
    for flag, given, known in (("arm", arm, arms.keys()), ("budget", budget, budgets.keys())):
        if given not in known:
            raise UserError(f"there is no {flag} {given!r}", f"--{flag}", f"Choose one of {choices(given, known)}.")
    screen = console()
    chosen = _parts(devices)
    launcher = launcher_for(jobs, chosen, cluster, parse_settings(cluster_settings or []), out / "cluster")
    study: Study = plan_study(
        source,
        _parts(methods),
        _parts(labels),
        range(first_seed, first_seed + seeds),
        parse_settings(settings or []),
        arms=arms[arm],
        budget=budgets[budget],
        preset=preset or _preset_for(source, cluster, chosen),
        console=screen,
    )
    try:
        done = compare(study, StudyFolder(out), launcher, screen)
    except Interrupted:
        say(screen, "Stopped, and saved. The same command goes on from here.")
        raise typer.Exit(130) from None
    if done.failures:
        raise typer.Exit(1)


def _preset_for(source: Path, cluster: str | None, devices: list[str]) -> str | None:
    """The preset where the runs go elsewhere than a training here would; None where they do not."""
    if cluster is not None:
        return "base"
    return "small" if source.is_dir() and set(devices) == {"cpu"} else None


def _parts(text: str) -> list[str]:
    """The words between commas."""
    return [part.strip() for part in text.split(",") if part.strip()]

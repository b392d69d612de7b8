"""The shipped sample and simulated hearts: `scarnet demo` and `scarnet phantom`."""

import json
from pathlib import Path
from typing import Annotated, Optional

import typer

from scarnet.cli.options import Output
from scarnet.cli.patient import segment


def demo(output: Output = Path("scarnet-demo")) -> None:
    """The whole main job on the shipped sample, a simulated LGE series, beside its known truth."""
    from scarnet.resources import shipped

    sample = shipped("SampleData")
    segment(sample / "LGEShortAxis", output)
    truth = json.loads((sample / "truth.json").read_text(encoding="utf-8"))["truth"]
    typer.echo(
        f"Simulated truth: myocardium {truth['myocardium_volume_ml']:.1f} mL, scar {truth['scar_volume_ml']:.1f} mL, "
        f"{truth['scar_percent_lv']:.1f} % of LV, MVO {truth['mvo_volume_ml']:.1f} mL."
    )


def phantom(
    output: Output,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another noise and outline.")] = 20,
    magnitude: Annotated[
        bool, typer.Option("--magnitude", help="Magnitude instead of phase-sensitive images.")
    ] = False,
    transmurality: Annotated[
        float, typer.Option(help="Of the infarct at its centre, 0 (none) to 1.", min=0, max=1)
    ] = 0.85,
    vendor: Annotated[
        Optional[str],
        typer.Option(help="A whole study as siemens, ge, philips, canon or another export of the zoo has it."),
    ] = None,
) -> None:
    """Simulate an LGE short-axis DICOM series with exactly known truth. The defaults give the shipped sample."""
    from dataclasses import replace

    from scarnet.export.outputs import check_writable
    from scarnet.phantom import HeartParameters, PhantomParameters, ScarParameters, write_sample, write_vendor_sample
    from scarnet.phantom.zoo import named
    from scarnet.series import Reconstruction

    check_writable(output)
    scar = ScarParameters(transmurality=transmurality) if transmurality > 0 else None
    parameters = PhantomParameters(heart=HeartParameters(scar=scar))
    if magnitude:
        parameters = replace(parameters, reconstruction=Reconstruction.MAGNITUDE)
    if vendor is not None:
        made = write_vendor_sample(output, named(vendor), parameters, seed=seed)
    else:
        made = write_sample(output, parameters, seed=seed)
    typer.echo(f"Written to {output}: " + ", ".join(f"{key} {value:.2f}" for key, value in made.truth_ml.items()))

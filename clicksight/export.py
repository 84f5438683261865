"""Export a trained run for other programs: weights and JSON, torch.export and ONNX, with a model card.

    clicksight export data/mtmdd/models/MTMDD-VM-star/seed-0 --output exported
    clicksight export data/mtmdd/models/MTMDD-VM-star/seed-0 --output exported --format onnx \\
        --evaluations data/mtmdd/evaluations/MTMDD-VM-star

In: a model folder of mtmdd, siamese, annotation, tagging or dckt; with --evaluations its run's
evaluations (``seed-N/metrics.json`` and ``units.parquet``), from which the card is written. Out, in a new folder:

- ``run.json``, ``*.safetensors``: the run itself; the export is a model folder for `clicksight predict`, too;
- ``texts.parquet``: the texts that a model of dckt finds for pictures;
- ``config.json``: inputs, outputs, names of categories, words, labels or tags, and what a picture goes through before;
- ``model.pt2`` (`torch.export.load`), ``model.onnx`` (the content of config.json is in its metadata): from squares of
  uint8 to probabilities, batches of any size;
- ``README.md``: the model card; with --evaluations and --benchmark also ``.eval_results/``.

`examples/exported_model.py` runs ``model.onnx`` without this project. docs/export.md has the details.

``clicksight export --as FORMAT ...`` writes data, not a model, as neighbouring tools read it: open_clip, imagefolder,
webdataset, recbole, sidecars, trec; ``clicksight export --as trec --help`` describes it.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from base.artifacts import whole_directory, write_json
from base.console import UserError, stage
from clicksight.card import CardOptions, Evaluated, check_evaluated, read_evaluated, write_card
from clicksight.models import load_model
from clicksight.neighbours import command
from model.folder import TEXTS, read_run
from model.graph import Graph
from model.prediction import Predictor

FORMATS = ("safetensors", "torch", "onnx")
HOLDS = ("run.json", "*.safetensors", TEXTS, "config.json", "model.pt2", "model.onnx", "README.md", ".eval_results")
TORCH_FILE, ONNX_FILE, CONFIG_FILE = "model.pt2", "model.onnx", "config.json"
OPSET = 20
# The largest difference of an exported probability or entry of a click feature. Both are at most 1, and a sum of
# float32 in another order differs by some multiples of 2^-24 = 6e-8 for each layer: docs/export.md has measurements.
TOLERANCE = 1e-5


def config_of(predictor: Predictor, graph: Graph) -> dict[str, Any]:
    """Return config.json: what somebody needs to know who has only the exported files."""
    size, interpolation = predictor.image_size, "bicubic" if predictor.finely else "bilinear"
    inputs: dict[str, Any] = {
        "pixels": {"dtype": "uint8", "shape": ["batch", 3, size, size], "layout": "RGB, 0 to 255"}
    }
    if graph.second is not None:
        names = list(graph.second.names)
        inputs[graph.second.name] = {
            "dtype": "float32", "shape": ["batch", len(names)], "meaning": graph.second.meaning, "names": names,
        }  # fmt: skip
    outputs = {
        name: {"dtype": "float32", "shape": ["batch", *([len(names)] if names else [])], "names": list(names)}
        for name, names in graph.outputs.items()
    }
    return {
        "made_by": "clicksight export",
        "system": predictor.system,
        "run": predictor.run,
        "seed": predictor.seed,
        "inputs": inputs,
        "outputs": outputs,
        "preprocessing": {
            "outside": f"decode to RGB{' at full scale' * predictor.finely}; resize ({interpolation}) to "
            f"{predictor.resize} pixels on the shorter side; cut out the middle square of {size} x {size} pixels; "
            "order as (3, height, width)",
            "resize_shorter_side": predictor.resize,
            "interpolation": interpolation,
            "middle_square": size,
            "inside": "the colours are normalised by ImageNet's mean and standard deviation",
        },
    }


def example_inputs(graph: Graph, image_size: int, batch: int) -> tuple[Tensor, ...]:
    """Return random inputs of a graph, always the same ones."""
    stream = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (batch, 3, image_size, image_size), dtype=torch.uint8, generator=stream)
    if graph.second is None:
        return (pixels,)
    second = torch.randint(0, 2, (batch, len(graph.second.names)), generator=stream).float()
    return pixels, second


def trace(graph: Graph, image_size: int) -> torch.export.ExportedProgram:
    """Return the graph as torch.export traces it, on the CPU, with batches of any size.

    Raises:
        UserError: the network can't be traced.
    """
    network = graph.network.cpu().eval()
    inputs = example_inputs(graph, image_size, batch=2)
    batch = torch.export.Dim("batch", min=1)
    try:
        # Both shapes stand in one tuple, whatever the names of forward's arguments.
        with torch.no_grad():
            program = torch.export.export(network, inputs, dynamic_shapes=tuple({0: batch} for _ in inputs))
    except (RuntimeError, NotImplementedError) as error:
        raise UserError(f"torch.export can't trace this network: {error}; use --format safetensors") from error
    return program


def save_onnx(program: torch.export.ExportedProgram, graph: Graph, config: dict[str, Any], path: Path) -> None:
    """Write an ONNX file with names of inputs and outputs, and config.json in its metadata."""
    names = ["pixels", *([graph.second.name] if graph.second else [])]
    batch = torch.export.Dim("batch", min=1)
    exported = torch.onnx.export(
        program,
        dynamo=True,
        verbose=False,
        opset_version=OPSET,
        input_names=names,
        output_names=list(graph.outputs),
        dynamic_shapes=tuple({0: batch} for _ in names),
    )
    assert exported is not None
    model = exported.model
    for node in model.graph.all_nodes():
        node.metadata_props.clear()  # has paths of this machine
        node.doc_string = None
    model.metadata_props.update({"clicksight": json.dumps(config, ensure_ascii=False, sort_keys=True)})
    exported.save(path)


def largest_difference(graph: Graph, program: torch.export.ExportedProgram, image_size: int) -> float:
    """Return the largest difference between the outputs of a network and of its exported program, for five pictures."""
    inputs = example_inputs(graph, image_size, batch=5)
    with torch.no_grad():
        wanted, found = graph.network(*inputs), program.module()(*inputs)
    pairs = zip(_tuple(wanted), _tuple(found), strict=True)
    return max(float((one - other).abs().max()) for one, other in pairs)


def _tuple(outputs: Any) -> tuple[Tensor, ...]:
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def export(
    model: Path,
    output: Path,
    formats: Sequence[str] = FORMATS,
    calibration: Path | None = None,
    evaluated: Evaluated | None = None,
    options: CardOptions | None = None,
) -> dict[str, Any]:
    """Write the export of a model folder, whole or not at all; return config.json.

    Args:
        model: the model folder.
        output: the folder to write.
        formats: of `FORMATS`; weights and JSON are always written.
        calibration: an evaluation that calibrates the probabilities, where the system does that.
        evaluated: what the card reports.
        options: what the card says that no file knows.

    Raises:
        UserError: the folder is not a model folder of such a system, or its network can't be exported.
    """
    if evaluated is not None:
        check_evaluated(evaluated, read_run(model), model)
    predictor = load_model(model, calibration)
    graph = predictor.graph()
    config = config_of(predictor, graph)
    with whole_directory(output, holds=HOLDS) as folder:
        for file in [model / "run.json", *sorted(model.glob("*.safetensors")), *model.glob(TEXTS)]:
            shutil.copyfile(file, folder / file.name)
        if set(formats) - {"safetensors"}:
            program = trace(graph, predictor.image_size)
            difference = largest_difference(graph, program, predictor.image_size)
            if difference > TOLERANCE:
                raise UserError(f"{model}: the traced network differs by {difference:g}, more than {TOLERANCE:g}")
            if "onnx" in formats:
                save_onnx(program, graph, config, folder / ONNX_FILE)
            if "torch" in formats:
                torch.export.save(program, folder / TORCH_FILE)
        write_json(config, folder / CONFIG_FILE)
        write_card(folder, config, read_run(model), evaluated, options or CardOptions())
    return config


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a model folder")
    parser.add_argument(
        "--as", dest="neighbour", choices=command.FORMATS, help="write data instead of a model; has its own --help"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--format", choices=FORMATS, nargs="+", default=FORMATS, help="what to write (default: all; weights always)"
    )
    parser.add_argument("--evaluations", type=Path, metavar="DIR", help="of the same run, with seed-N folders")
    parser.add_argument(
        "--calibrated", action="store_true", help="calibrate the probabilities by this seed's evaluation"
    )
    parser.add_argument("--license", metavar="NAME", help="of the weights, as in cc-by-4.0; none is stated otherwise")
    parser.add_argument("--data", metavar="TEXT", help="a sentence about the training data, for the card")
    parser.add_argument(
        "--benchmark", metavar="DATASET:TASK", help="of the Hugging Face Hub, for .eval_results: its id and task"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command, or with --as that of the neighbours' formats."""
    given = list(sys.argv[1:] if argv is None else argv)
    if any(argument == "--as" or argument.startswith("--as=") for argument in given):
        command.main(given)
        return
    arguments = build_parser().parse_args(given)
    with stage("export") as closing:
        evaluated = None if arguments.evaluations is None else read_evaluated(arguments.evaluations)
        calibration = None
        if arguments.calibrated:
            if arguments.evaluations is None:
                raise UserError("--calibrated needs --evaluations")
            calibration = arguments.evaluations / f"seed-{read_run(arguments.model).get('seed')}"
        options = CardOptions(arguments.license, arguments.data, arguments.benchmark)
        config = export(arguments.model, arguments.output, arguments.format, calibration, evaluated, options)
        outputs = ", ".join(f"{name} of {len(one['names']) or 1:,}" for name, one in config["outputs"].items())
        closing.wrote[str(arguments.output)] = f"{config['system']} {config['run']}: {outputs}"
        closing.next_command = f"clicksight predict {arguments.output} PICTURES"


if __name__ == "__main__":
    main()

"""Run an exported model without Clicksight: NumPy, Pillow and ONNX Runtime are enough.

clicksight export data/mtmdd/models/MTMDD-VM-star/seed-0 --output exported
python examples/exported_model.py exported/model.onnx picture.jpg
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image


def middle_square(path: str, resize: int, size: int, interpolation: str) -> np.ndarray:
    """Return the pixels that the model sees: uint8 (3, size, size)."""
    image = Image.open(path)
    if interpolation == "bilinear":
        image.draft("RGB", (resize, resize))  # a large JPEG is decoded at a smaller scale, as in Clicksight
    image = image.convert("RGB")
    scale = resize / min(image.size)
    width, height = (max(resize, round(side * scale)) for side in image.size)
    pixels = np.asarray(image.resize((width, height), Image.Resampling[interpolation.upper()]))
    top, left = (height - size) // 2, (width - size) // 2
    return np.ascontiguousarray(pixels[top : top + size, left : left + size].transpose(2, 0, 1))


def main(model: str, *pictures: str) -> None:
    """Print the three best names of each output for each picture, one line of JSON each."""
    session = onnxruntime.InferenceSession(model)
    config = json.loads(session.get_modelmeta().custom_metadata_map["clicksight"])
    given = config["preprocessing"]
    how = given["resize_shorter_side"], given["middle_square"], given.get("interpolation", "bilinear")
    inputs = {"pixels": np.stack([middle_square(picture, *how) for picture in pictures])}
    for name, one in config["inputs"].items():
        if name != "pixels":  # tags or a history, of which nothing is known here
            inputs[name] = np.zeros((len(pictures), len(one["names"])), np.float32)
    results = dict(zip((one.name for one in session.get_outputs()), session.run(None, inputs), strict=True))
    for row, picture in enumerate(pictures):
        said: dict[str, object] = {"picture": picture}
        for name, values in results.items():
            names = config["outputs"][name]["names"]
            best = np.argsort(-values[row], kind="stable")[:3] if names else []
            said[name] = {names[j]: round(float(values[row][j]), 4) for j in best} if names else float(values[row])
        sys.stdout.write(json.dumps(said, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import torch
from PIL import Image

from vaetune.latents import page
from vaetune.latents.subject import Subject


def data(text: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert found
    return json.loads(found[1])  # type: ignore[no-any-return]


def sheet(found: dict[str, object], index: int) -> np.ndarray:
    url = str(found["url"])
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("L"))
    width, height = int(found["width"]), int(found["height"])  # type: ignore[call-overload]
    r, c = divmod(index, int(found["columns"]))  # type: ignore[call-overload]
    return picture[r * height : (r + 1) * height, c * width : (c + 1) * width]


def test_it_holds_everything_and_asks_for_nothing(svae: Subject, vae2: Subject) -> None:
    text = page.write("a study", [svae, vae2])
    assert not re.findall(r"""\s(?:src|href)=["']|https?://|@import""", text)
    assert "default-src 'none'" in text
    assert len(text) < 1_500_000
    one, other = data(text)["models"]  # type: ignore[misc]
    assert [len(m["planes"]) for m in (one, other)] == [2, 1], "a plane needs two axes"
    assert len(one["labels"]) == 200
    assert other["probabilities"] is None


def test_sheets_hold_the_images_and_what_is_decoded(svae: Subject) -> None:
    (model,) = data(page.write("s", [svae]))["models"]  # type: ignore[misc]
    assert np.array_equal(sheet(model["inputs"], 33), svae.images[33, 0].numpy())
    expected = (svae.reconstructions[33, 0] * 255).round().byte().numpy()
    assert np.array_equal(sheet(model["reconstructions"], 33), expected)
    axes, plane = svae.principal_axes, model["planes"][1]
    corner = axes.moved(axes.center, {2: page.REACH, 3: page.REACH})  # right and up is the first row's last
    expected = (svae.decode(corner.unsqueeze(0))[0, 0] * 255).round().byte().numpy()
    assert np.abs(sheet(plane["decoded"], page.CELLS - 1).astype(int) - expected).max() <= 1
    at = axes.coordinates(svae.mu)[:, 2:4] / axes.spread[2:4]
    assert torch.allclose(torch.tensor(plane["points"]), at, atol=1e-3)
    assert model["neighbours"][5] == svae.neighbours(5, 6).tolist()


def test_a_model_that_decodes_with_a_label_says_which(cvae: Subject, svae: Subject) -> None:
    given, none = data(page.write("s", [cvae, svae]))["models"]  # type: ignore[misc]
    assert given["planes"][0]["told"] == "0"
    expected = (cvae.decode(cvae.principal_axes.center.unsqueeze(0), 0)[0, 0] * 255).round().byte().numpy()
    middle = page.CELLS * page.CELLS // 2
    assert np.abs(sheet(given["planes"][0]["decoded"], middle).astype(int) - expected).max() <= 1
    assert none["planes"][0]["told"] == ""


def test_names_from_outside_are_data(svae: Subject) -> None:
    bad = "</script><script>alert(1)</script>"
    subject = Subject(bad, svae.model, svae.images, svae.labels, [bad] * 10)
    text = page.write(bad, [subject])
    assert text.count("<script") == 2
    assert "alert(1)</script>" not in text
    assert data(text)["models"][0]["name"] == bad  # type: ignore[index]

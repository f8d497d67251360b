"""The deblurring experiment: the smoke preset from training to pictures, killing and resuming, other photographs, bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from eqtheory.constructions import CircularBlur
from eqtheory.errors import InputError, NonFiniteError
from experiments.common.checkpoints import load_tensors, random_generator, save_tensors
from experiments.common.record import load_preset
from experiments.imaging.adapters import PhysicsMap, denoiser_step
from experiments.imaging.classical import Peer, tune
from experiments.imaging.curves import wave_tangents
from experiments.imaging.denoising import new_denoiser, pretrain
from experiments.imaging.figures import draw
from experiments.imaging.inspection import audited, gradient_biases
from experiments.imaging.measure import FOLDER, measure
from experiments.imaging.models import ImplicitModel, Unrolled, observe
from experiments.imaging.photographs import (
    Photographs,
    bundled,
    kernel_of_reference,
    load_folder,
    load_kernel,
    shaken_kernel,
    split,
)
from experiments.imaging.quality import psnr, ssim
from experiments.imaging.shipped import LARGEST, available, load, ship
from experiments.imaging.training import Run, names, settings, train_all, train_model
from experiments.imaging.transfer import compare_on

CONFIG = load_preset(FOLDER, "smoke")


def box(size: int = 5) -> Tensor:
    return torch.full((size, size), 1 / size**2, dtype=torch.float64)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Checkpoints of a smoke run, and a folder with its shipped models and results."""
    runs, results = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("EQTHEORY_DATA", raising=False)
        train_all(Run(CONFIG, 0, runs))
        ship(Run(CONFIG, 0, runs), results)
        measure("smoke", runs=runs, results=results)
    return runs, results


def test_the_smoke_preset_measures_everything(trained: tuple[Path, Path]) -> None:
    content = json.loads((trained[1] / "imaging.json").read_text())
    assert content["config"] == {"preset": "smoke", **CONFIG}
    measured = content["measured"]
    assert set(names(CONFIG)) <= set(measured["table"])
    assert {"Wiener", "Richardson-Lucy", "total variation", "plug-and-play"} <= set(measured["table"])
    curves = measured["models"][0]["curves"]
    assert set(curves) == {"hqs", "pgd", "hqs_implicit_gradient", "hqs_jacobian_free"}
    assert measured["seeds"] == [0]
    assert measured["seeds_not_trained"] == []
    for one in curves.values():
        assert len(one["psnr"]) == len(one["slope"]) == len(one["iterations"])
        assert one["slope"][0] > 0
        assert one["slope_iteration"].startswith("Picard")


class Shrink(nn.Module):
    """A prior step of slope 0.6 in the place of a network, so that what an audit and a gradient have to say is known."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.6))

    def forward(self, image: Tensor, _: Tensor) -> Tensor:
        return self.weight * image


def test_audits_and_gradient_biases_of_a_model_that_is_known() -> None:
    model = ImplicitModel(Shrink(), splitting=True, step=0.2, level=0.1)  # type: ignore[arg-type]
    where = {"photographs": bundled("val"), "kernel": box(), "noise": 0.03, "size": 8}
    audit = audited(model.requires_grad_(requires_grad=False), **where, samples=4)  # type: ignore[arg-type]
    assert audit["verdicts"]["R1"]["verdict"] != "refuted"
    slope = audit["slopes"]["state"]["lower"]
    assert slope["side"] == "lower bound"
    assert (
        0.5 < slope["value"] <= 0.6 + 1e-3
    )  # the blur leaves a wave of singular value nearly zero, which is scaled by 0.6
    biases = gradient_biases(model, **where, samples=2)  # type: ignore[arg-type]
    assert {one["of"] for one in biases} == {"inputs", "parameters"}
    worst = {one["gradient"].partition("(")[0]: one["relative_error"] for one in biases if one["of"] == "inputs"}
    assert worst["Phantom"] < worst["OneStep"] < 0.6 + 1e-3  # T9: mu^4 and mu
    assert worst["Phantom"] < 0.6**4 + 1e-3


def test_pictures_are_drawn_from_results(trained: tuple[Path, Path]) -> None:
    for path in draw(trained[1]):
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_models_are_compared_on_any_folder_and_kernel(trained: tuple[Path, Path], tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "one.png")
    np.save(tmp_path / "kernel.npy", box().numpy())
    found = compare_on(tmp_path, tmp_path / "kernel.npy", preset="smoke", runs=tmp_path / "nothing", results=trained[1])
    models = {"explicit", "hqs", "pgd", "unrolled2", "hqs_implicit_gradient", "hqs_jacobian_free"}
    assert set(found["psnr"]) == {
        "observation",
        *models,
        "Wiener",
        "Richardson-Lucy",
        "total variation",
        "plug-and-play",
    }
    assert found["images"] == 1
    assert found["kernel"] == "kernel.npy"


def test_without_training_the_command_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match="model denoiser: got no checkpoint of seed 0; needed one; run the command train"
    ):
        compare_on(None, None, preset="smoke", runs=tmp_path, results=tmp_path)


def test_seeds_that_were_not_trained_are_not_replaced_by_others(trained: tuple[Path, Path]) -> None:
    with pytest.raises(FileNotFoundError, match=r"got no checkpoint of seeds \[7\]"):
        measure("smoke", runs=trained[0], results=trained[1], seeds=[0, 7])
    assert not available("hqs", Run(CONFIG, 1, trained[0]), trained[1])
    assert available("hqs", Run(CONFIG, 0, trained[0] / "nothing"), trained[1])
    assert ship(Run(CONFIG, 1, trained[0]), trained[1]) == []


def test_a_training_that_has_not_ended_is_not_measured(trained: tuple[Path, Path], tmp_path: Path) -> None:
    tensors, about = load_tensors(trained[0] / "hqs-0.safetensors")
    save_tensors(tmp_path / "hqs-0.safetensors", tensors, about | {"losses": about["losses"][:2]})
    with pytest.raises(ValueError, match="model hqs, seed 0: got 2 of 4 steps; run the command train to finish it"):
        load("hqs", Run(CONFIG, 0, tmp_path), tmp_path)


def test_a_run_is_not_continued_on_other_data(trained: tuple[Path, Path], tmp_path: Path) -> None:
    run = Run(CONFIG, 0, tmp_path)
    for name in ("denoiser", "hqs"):
        (tmp_path / f"{name}-0.safetensors").write_bytes((trained[0] / f"{name}-0.safetensors").read_bytes())
    photographs, kernel = bundled("train"), shaken_kernel(17, random_generator(2, 17))
    fewer = Photographs(photographs.images[:2], photographs.source)
    with pytest.raises(ValueError, match="another count; needed the same configuration"):
        pretrain(CONFIG, 0, fewer, tmp_path / "denoiser-0.safetensors")
    denoiser = load("denoiser", run, tmp_path)
    with pytest.raises(ValueError, match="another kernel_digest"):
        train_model("hqs", run, denoiser, photographs, kernel.T.contiguous())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="another denoiser_digest"):
        train_model("hqs", run, new_denoiser("small", 5), photographs, kernel)


def test_choices_that_diverge_can_not_win() -> None:
    blur, clean = CircularBlur(box(3), (16, 16)), torch.rand(1, 3, 16, 16, generator=random_generator(3))
    family = Peer(
        "broken", lambda k: lambda x, _: x * (torch.nan if k == 0 else k), [{"k": k} for k in (0.0, 0.5, 1.0)]
    )
    assert tune(family, clean, clean, blur)[1] == {"k": 1.0}
    hopeless = Peer("broken", lambda k: lambda x, _: x * torch.nan, [{"k": 1.0}])
    with pytest.raises(NonFiniteError, match="broken: got 1 choices without a finite PSNR"):
        tune(hopeless, clean, clean, blur)


def test_images_of_more_bits_are_read_as_numbers_and_transparent_ones_refused(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    (deep,) = load_folder(tmp_path).images
    assert torch.allclose(deep[0].double(), torch.from_numpy(ramp / 65535), atol=1e-6)
    peak = np.zeros((5, 5), dtype=np.uint16)
    peak[2, 2], peak[2, 3] = 60_000, 20_000
    Image.fromarray(peak).save(tmp_path / "deep.png")
    assert float(load_kernel(tmp_path / "deep.png").max()) == pytest.approx(0.75)
    (tmp_path / "deep.png").unlink()
    Image.fromarray(np.full((8, 8), np.nan, dtype=np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(NonFiniteError, match=r"float.tiff: got 192 pixels that are not finite"):
        load_folder(tmp_path)
    (tmp_path / "float.tiff").unlink()
    Image.fromarray(np.full((8, 8, 4), 9, dtype=np.uint8)).save(tmp_path / "clear.png")
    with pytest.raises(InputError, match=r"clear.png with transparent pixels, needed an opaque photograph"):
        load_folder(tmp_path)
    (tmp_path / "clear.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"clear.png, which can not be read"):
        load_folder(tmp_path)


def test_a_folder_of_data_that_lacks_a_part_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EQTHEORY_DATA", str(tmp_path))
    with pytest.raises(InputError, match="test, which is no folder"):
        split("test")
    with pytest.raises(InputError, match=r"levin09_k2.npy, which does not exist"):
        kernel_of_reference("k2")


def test_waves_that_the_blur_wipes_out_are_no_tangents() -> None:
    blur = CircularBlur(box(4), (16, 16))
    with pytest.raises(InputError, match="quantiles: got waves with singular values"):
        wave_tangents(blur, [i / 8 for i in range(9)])


def test_shipped_models_are_small_and_were_trained_by_this_preset() -> None:
    config = load_preset(FOLDER, "cpu")
    files = {path.stem: path for path in (FOLDER / "results").glob("*.safetensors")}
    assert {"denoiser", "explicit", "hqs", "pgd", "unrolled4"} <= set(files)
    assert sum(path.stat().st_size for path in files.values()) <= LARGEST
    for name, path in files.items():
        about = load_tensors(path)[1]
        assert about["steps"] == (config["pretraining"] if name == "denoiser" else settings(name, config))["steps"]
        assert about["config"]["photographs"] == "bsds500, train"
        assert about["config"]["seed"] == config["seeds"][0]
        load(name, Run(config, config["seeds"][0], FOLDER / "nothing"), FOLDER / "results")


def test_stored_results_are_those_of_this_preset_with_three_seeds() -> None:
    for name in ("imaging", "transfer", "transfer_smooth"):
        content = json.loads((FOLDER / "results" / f"{name}.json").read_text())
        assert content["config"] == {"preset": "cpu", **load_preset(FOLDER, "cpu")}
    measured = json.loads((FOLDER / "results" / "imaging.json").read_text())["measured"]
    assert measured["seeds"] == load_preset(FOLDER, "cpu")["seeds"]
    assert measured["photographs"] == "bsds500, test"
    assert set(measured["audits"]) == {"hqs", "pgd"}


def test_quality_is_that_of_scikit_image() -> None:
    from skimage.metrics import peak_signal_noise_ratio

    clean = torch.rand(2, 3, 16, 16, generator=random_generator(1))
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=random_generator(2))
    for k in range(2):
        expected = peak_signal_noise_ratio(
            clean[k].double().numpy(), noisy[k].clamp(0, 1).double().numpy(), data_range=1
        )
        assert float(psnr(noisy, clean)[k]) == pytest.approx(expected, abs=1e-9)
    assert ssim(clean, clean).tolist() == pytest.approx([1.0, 1.0])
    assert float(ssim(noisy, clean).max()) < 0.99


def test_wave_tangents_are_orthonormal_images_of_waves_under_the_blur() -> None:
    blur = CircularBlur(shaken_kernel(7, random_generator(3)), (24, 32))
    tangents, about = wave_tangents(blur, [0.1, 0.4, 0.8])
    assert torch.allclose(tangents @ tangents.T, torch.eye(3, dtype=tangents.dtype), atol=1e-12)
    images = tangents.reshape(3, 3, 24, 32)
    back = blur.adjoint(images).flatten(1).norm(dim=1)
    assert back.tolist() == pytest.approx(about["singular_values"], rel=1e-9)
    assert about["frequencies"] == sorted(about["frequencies"])


def test_an_unrolled_model_of_equal_stages_is_the_implicit_one_stopped_early() -> None:
    blur, denoiser = CircularBlur(box(), (16, 16)), new_denoiser("small", 0).requires_grad_(requires_grad=False)
    x = observe(torch.rand(2, 3, 16, 16, generator=random_generator(4)), blur, 0.03, random_generator(5))
    unrolled = Unrolled(denoiser, 3, step=0.2, level=0.1)
    implicit = ImplicitModel(denoiser, splitting=True, step=0.2, level=0.1)
    assert torch.allclose(unrolled(x, blur), implicit(x, blur, steps=3), atol=1e-6)


class Physics:
    """The interface of deepinv's linear physics, around a blur."""

    def __init__(self, blur: CircularBlur) -> None:
        self.blur = blur

    def A(self, x: Tensor) -> Tensor:
        return self.blur(x)

    def A_adjoint(self, y: Tensor) -> Tensor:
        return self.blur.adjoint(y)

    def prox_l2(self, z: Tensor, y: Tensor, gamma: float | Tensor) -> Tensor:
        return self.blur.solve(z / gamma + self.blur.adjoint(y), 1 / gamma)


def test_physics_and_denoisers_of_the_other_library_can_be_used() -> None:
    blur = CircularBlur(box(3), (12, 12))
    adapted = PhysicsMap(Physics(blur), norm=1.0)
    v = torch.rand(2, 3, 12, 12, generator=random_generator(6), dtype=torch.float64)
    u = adapted.solve(v, 0.3)
    assert torch.allclose(adapted.normal(u) + 0.3 * u, v, atol=1e-12)
    assert torch.allclose(u, blur.solve(v, 0.3), atol=1e-12)
    assert adapted.norm.value == 1.0
    step = denoiser_step(lambda image, sigma: image * (1 - sigma), 0.1)
    assert torch.allclose(step(v), 0.9 * v)
    with pytest.raises(ValueError, match="declare one: PhysicsMap"):
        _ = PhysicsMap(Physics(blur)).norm
    with pytest.raises(InputError, match="physics: got object without A, A_adjoint, prox_l2"):
        PhysicsMap(object())
    with pytest.raises(InputError, match="denoiser: got int"):
        denoiser_step(3, 0.1)  # type: ignore[arg-type]

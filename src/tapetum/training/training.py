"""Trains networks: `train` starts from any weights, `fine_tune` replaces the head of a trained network. Both use one loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tapetum.data.preprocessing import Preprocessing
from tapetum.keeping.locks import alone
from tapetum.models.replica import weights_sha256
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo import load
from tapetum.models.zoo.trained import architecture_of, save_trained
from tapetum.progress import Watcher, watching
from tapetum.training.checkpoints import go_on, save_epoch
from tapetum.training.data import Split, read_data
from tapetum.training.features import Features, called, features_of
from tapetum.training.loop import Schedule, TrainingPlan, TrainingState, Work, run_epoch
from tapetum.training.pictures import KEEP_BYTES, Augment, Photographs
from tapetum.training.starting import SIMPLE, Frozen, StartingNetwork, freeze_parts, new_head, new_network, private, set_size
from tapetum.types import History, ImageError, ModelLike, TrainingError

SMALLEST, LARGEST = 32, 128
"""Smallest and largest side in px of SimpleCNN's pictures, unless `size` is given."""


def train(
    data: Any,
    arch: Any = "simple_cnn",
    *,
    epochs: int = 8,
    batch: int = 64,
    learning_rate: float | int = 1e-3,
    schedule: Schedule = "constant",
    size: int | None = None,
    augment: Augment = "none",
    validation: Any = 0.2,
    seed: int = 0,
    patience: int | None = None,
    out: str | Path | None = None,
    resume: bool = True,
    device: str | None = None,
    progress: Watcher | None = None,
) -> History:
    """Trains a network on pictures with classes, and logs every epoch.

    Adam minimises the mean cross entropy -log p(class), over all pictures in a new order each epoch, `batch` at a time. The
    same seed gives the same network, also with other worker threads, and after an interruption: with `out`, every epoch is
    saved, and the same call continues after the last one, to the same numbers. Your module is copied, never changed, and
    torch's random state is left as it was. Refused: data without classes, a network with another number of outputs, a loss
    that becomes NaN, a folder that holds another training.

    Args:
        data: a folder of class folders, "imagenette:160", anything `tp.as_source` takes that has labels, a pair (pixels
            (n, 3, h, w), labels), or a torch Dataset. Pictures that cannot be read are left out and listed.
        arch: "simple_cnn" (24,458 parameters for ten classes), "simple_cnn_wide", a name for `tp.load` (random weights), or
            a module of yours, which starts from its present weights.
        epochs: passes over the training pictures.
        batch: pictures per step.
        learning_rate: the length of Adam's steps.
        schedule: constant, or cosine: from `learning_rate` down to 0.
        size: side of the network's input in px; None: its own, or for SimpleCNN that of the pictures, from 32 to 128.
        augment: none, flip (mirrored half of the time), or crop (also cropped at a random place).
        validation: the share of each class that is held out, or a data set of its own. A folder with train and val inside
            is split that way.
        seed: random seed for weights, order, changes and dropout.
        patience: epochs without a lower validation loss after which training stops, with the best weights; None: never.
        out: a folder for checkpoints, history.json and the trained network, which `tp.load(out)` gives.
        resume: continue the training in `out`; else begin again.
        device: cpu, cuda, ...; None: the CPU, or where your module is.
        progress: function called with the progress; if it returns False, training stops, and finished epochs stay in `out`.

    Example:
        >>> history = tp.train("digits:test", epochs=1)
        >>> history.model, history.accuracy
    """
    plan = _plan(epochs, batch, learning_rate, schedule, seed, patience)
    with _quietly(progress):
        parts = read_data(data, validation, seed)
        if isinstance(arch, str) and arch in SIMPLE:
            photographs = _photographs(parts, _first_look(parts, size), augment, seed)
            mean, std = photographs[0].mean_and_std()
            cut = replace(photographs[0].preprocessing, mean=mean, std=std)
            start = new_network(arch, parts.classes, cut, seed)
        else:
            start = new_network(arch, parts.classes, Preprocessing(), seed)
            set_size(start.model, size)
            photographs = _photographs(parts, start.model.preprocessing, augment, seed)
        job = Training(start, Frozen(), parts, photographs, plan, _arch_name(arch), {"augment": augment})
        return _run(job, out, resume, device)


def fine_tune(
    model: ModelLike,
    data: Any,
    *,
    freeze: str | None = "features",
    epochs: int = 8,
    batch: int = 64,
    learning_rate: float | int | None = None,
    schedule: Schedule = "constant",
    size: int | None = None,
    augment: Augment = "none",
    validation: Any = 0.2,
    seed: int = 0,
    patience: int | None = None,
    out: str | Path | None = None,
    resume: bool = True,
    device: str | None = None,
    progress: Watcher | None = None,
) -> History:
    """Teaches a trained network your classes: a new last layer, and as much of the rest as you like.

    The last linear layer or 1x1 convolution is found by running the network and replaced by one with as many outputs as the
    data has classes. With everything else frozen, and no random changes of the pictures, the network runs once on each
    picture; only the head is then trained, on the stored features. Your model is copied, never changed. Refused: a
    network whose head is not found, and what `train` refuses.

    Args:
        model: a name for `tp.load`, a module, or a VisionModel.
        data: as for `train`.
        freeze: features (all but the new head), None (nothing), or the name of a layer: all modules that run up to it.
        epochs: passes over the training pictures.
        batch: pictures per step.
        learning_rate: the length of Adam's steps; None: 1e-3 for the head alone, 1e-4 where trained weights change, too.
        schedule: constant, or cosine: from `learning_rate` down to 0.
        size: side of the network's input in px; None: its own. Smaller is quicker, and usually worse.
        augment: none, flip (mirrored half of the time), or crop (also cropped at a random place).
        validation: the share of each class that is held out, or a data set of its own.
        seed: random seed for the new head, order, changes and dropout.
        patience: epochs without a lower validation loss after which training stops, with the best weights; None: never.
        out: a folder for checkpoints, history.json and the trained network, which `tp.load(out)` gives.
        resume: continue the training in `out`; else begin again.
        device: cpu, cuda, ...; None: where the model is.
        progress: function called with the progress; if it returns False, training stops, and finished epochs stay in `out`.

    Example:
        >>> tp.fine_tune(model, "digits:test", epochs=1).model.labels
    """
    rate = learning_rate if learning_rate is not None else 1e-3 if freeze == "features" else 1e-4
    plan = _plan(epochs, batch, rate, schedule, seed, patience)
    with _quietly(progress):
        parts = read_data(data, validation, seed)
        start = new_head(load(model) if isinstance(model, str) else private(model), parts.classes, seed)
        set_size(start.model, size)
        frozen = freeze_parts(start, freeze)
        photographs = _photographs(parts, start.model.preprocessing, augment, seed)
        job = Training(start, frozen, parts, photographs, plan, _arch_name(model), {"augment": augment, "freeze": freeze})
        return _run(job, out, resume, device)


@dataclass
class Training:
    start: StartingNetwork
    frozen: Frozen
    parts: Split
    photographs: list[Photographs]
    plan: TrainingPlan
    arch: str
    settings: Mapping[str, Any]


# --- what is given


def _plan(epochs: int, batch: int, rate: float | int, schedule: Schedule, seed: int, patience: int | None) -> TrainingPlan:
    whole = {"epochs": epochs, "batch": batch, "patience": 1 if patience is None else patience}
    for name, value in whole.items():
        if not isinstance(value, int) or value < 1:
            raise TrainingError(f"{name} is a whole number from 1 on, not {value!r}")
    if not 0 < rate < float("inf"):
        raise TrainingError(f"learning_rate is a number above 0, not {rate!r}")
    if schedule not in ("constant", "cosine"):
        raise TrainingError(f"schedule is constant or cosine, not {schedule!r}")
    return TrainingPlan(epochs, batch, float(rate), schedule, seed, patience)


def _quietly(progress: Watcher | None) -> Any:
    """Returns a context that sends progress to the given watcher; None: to the current one."""
    return nullcontext() if progress is None else watching(progress)


def _photographs(parts: Split, preprocessing: Preprocessing, augment: Augment, seed: int) -> list[Photographs]:
    if augment not in ("none", "flip", "crop"):
        raise TrainingError(f"augment is none, flip or crop, not {augment!r}")
    if preprocessing.range is not None or preprocessing.channels not in (1, 3):
        what = "raw values" if preprocessing.range is not None else f"{preprocessing.channels} bands"
        raise TrainingError(f"training is on 8-bit pictures, grey or colour, and this network takes {what}: use your own loop")
    held = Photographs(parts.validation, preprocessing, "none", seed, KEEP_BYTES)
    return [Photographs(parts.train, preprocessing, augment, seed, KEEP_BYTES), held]


def _first_look(parts: Split, size: int | None) -> Preprocessing:
    """Returns SimpleCNN's preprocessing, by the size of the first readable picture; small square pictures are not cropped."""
    for row in range(len(parts.train)):
        try:
            height, width = parts.train.read(row).shape[-2:]
        except ImageError:
            continue
        side = size or max(SMALLEST, min(height, width, LARGEST))
        whole = height == width <= LARGEST
        return Preprocessing((side, side), side if whole else round(side * 8 / 7), "bilinear", (0.0,) * 3, (1.0,) * 3)
    raise ImageError(f"{parts.train.source.name}: none of its pictures can be read")


def _arch_name(given: Any) -> str:
    return given if isinstance(given, str) else getattr(given, "name", type(given).__name__)


# --- the run


def _run(job: Training, out: str | Path | None, resume: bool, device: str | None) -> History:
    folder = None if out is None else Path(out)
    with torch.inference_mode(False), nullcontext() if folder is None else alone(folder):
        model = job.start.model
        if device is not None:
            model.module.to(device)
        for one in job.photographs:
            one.preprocessing = model.preprocessing
            one.place = lambda images: model.laid_out(images.to(model.device, model.dtype))
        settings = _settings(job)
        head = job.frozen.alone
        features = None
        if head is not None and job.start.head is not None and job.settings["augment"] == "none":
            features = features_of(model, job.start.head, job.photographs, job.plan.batch)
        network = model.module if features is None or head is None else head
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        state = TrainingState(network, torch.optim.Adam(trained, lr=job.plan.learning_rate), snapshots=_snapshot(model))
        went_on = () if folder is None else go_on(folder, state, settings, resume=resume)
        _epochs(job, _work(job, features, network), state, folder, settings)
        if state.best:
            state.network.load_state_dict(state.best)
        return _history(job, state, folder, went_on)


def _settings(job: Training) -> dict[str, Any]:
    """Returns the settings that must be equal to resume a training; epochs may differ if the learning rate is constant."""
    plan, model = job.plan, job.start.model
    found = {"arch": job.arch, "classes": list(job.parts.classes), "preprocessing": repr(model.preprocessing)}
    found |= {"batch": plan.batch, "learning_rate": plan.learning_rate, "schedule": plan.schedule, "seed": plan.seed}
    found |= {"patience": plan.patience, **job.settings}
    if plan.schedule != "constant":
        found["epochs"] = plan.epochs
    prints = {"train": job.parts.train.fingerprint(), "validation": job.parts.validation.fingerprint()}
    return {**found, "data": prints, "start": weights_sha256(model.module)}


def _work(job: Training, features: list[Features] | None, network: nn.Module) -> Work:
    model = job.start.model
    if features is not None:
        return Work(features[0], features[1], lambda head, values: head(values), lambda: job.frozen.training_mode(model.module))
    train, held = job.photographs
    return Work(train, held, lambda module, images: called(model, module, images), lambda: job.frozen.training_mode(network))


def first_conv2d(model: VisionModel) -> str | None:
    """Returns the name of the first 2-D convolution that runs; None if there is none."""
    parts = dict(model.module.named_modules())
    return next((name for name in model.survey.order if isinstance(parts[name], nn.Conv2d)), None)


def _snapshot(model: VisionModel) -> list[Tensor]:
    """Returns a list with a copy of the first convolution's weights; empty if they are not trained."""
    name = first_conv2d(model)
    weight = None if name is None else model.module.get_submodule(name).weight
    return [weight.detach().cpu().clone()] if isinstance(weight, Tensor) and weight.requires_grad else []


def _epochs(job: Training, work: Work, state: TrainingState, folder: Path | None, settings: Mapping[str, Any]) -> None:
    while not state.finished(job.plan):
        epoch = run_epoch(work, state, job.plan)
        lowest = min((one.validation_loss for one in state.epochs), default=float("inf"))
        state.epochs.append(epoch)
        state.snapshots += _snapshot(job.start.model)
        if job.plan.patience is None or epoch.validation_loss < lowest:
            state.kept = epoch.number
            if job.plan.patience is not None:
                state.best = {name: one.detach().clone() for name, one in state.network.state_dict().items()}
        if folder is not None:
            save_epoch(folder, state, settings)
            _save_network(job, state, folder)


def _save_network(job: Training, state: TrainingState, folder: Path) -> None:
    """Saves the network with its best weights so far (the latest, without patience), so that `tp.load` can read it."""
    start = job.start
    prefix = f"{start.head}." if state.network is not start.model.module else ""
    tensors = {**start.model.module.state_dict(), **{f"{prefix}{name}": one for name, one in state.best.items()}}
    save_trained(start.model, folder, architecture_of(start.model, start.head), tensors)


def _history(job: Training, state: TrainingState, folder: Path | None, went_on: Sequence[str]) -> History:
    model = job.start.model
    model.module.eval().requires_grad_(True)
    for parameter in model.module.parameters():
        parameter.grad = None
    model.weights = "trained here" if folder is None else "default"
    notes = [*job.parts.notes, *went_on]
    if folder is not None:
        _save_network(job, state, folder)  # an earlier run may have been stopped after its last epoch, before this file
        model.source = str(folder.resolve())
    if len(state.epochs) < job.plan.epochs:
        notes.append(f"stopped after {len(state.epochs)} of {job.plan.epochs} epochs: the loss did not fall any more")
    lost = {key: why for one in job.photographs for key, why in one.skipped.items()}
    skipped = (*job.parts.skipped, *sorted(lost.items()))
    if skipped:
        notes.append(f"{len(skipped)} pictures were left out, {skipped[0][0]} first: {skipped[0][1]}")
    counts = len(job.parts.train), len(job.parts.validation)
    snapshots = torch.stack(state.snapshots) if len(state.snapshots) > 1 else torch.zeros(0, 0, 0, 0, 0)
    layer = first_conv2d(model) if len(state.snapshots) > 1 else None
    return History(
        job.arch, job.parts.classes, tuple(state.epochs), state.kept, counts, snapshots, layer, skipped, model, tuple(notes)
    )

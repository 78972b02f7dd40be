"""The parts of the configured cascade: where each is, what is still to be downloaded, the files of prompts' embeddings.

Needs no torch, no Snakemake, no network.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from fun.data.layout import files_in, files_of
from fun.data.prompts import embedding_key, embeds_identity, encoder_identity, fingerprint
from fun.workflow.experiments import GRID, ITSELF, STAGES
from fun.workflow.modules import SCRIPTS
from fun.workflow.refusals import canonical

HASHES = ".snakemake/file_hashes.json"  # of large files, so that they are not read each time


class Parts:
    """A cascade's entry in config.yaml, and the files that it refers to.

    Args:
        name: of the cascade.
        entry: its entry in the configuration, completed.
        in_project: turns a path of the configuration into one from the working directory.
        prompt_embeds: the user's file or folder of embeddings, which replaces the text encoder; None for none.
    """

    def __init__(self, name: str, entry: dict, in_project: Callable[[str], str], prompt_embeds: str | None):
        self.name, self.entry, self.in_project = name, entry, in_project
        self.embeds_path = prompt_embeds and in_project(prompt_embeds)
        self._encoder = None

    def folder(self, part: str) -> str:
        """Where a part is: a folder, or a repository on the hub."""
        model = self.entry[part]
        return model["model"] if model["revision"] else self.in_project(model["model"])

    def model(self, part: str) -> dict:
        """A part's entry, without its sampling and its resources on a cluster."""
        model = {key: value for key, value in self.entry[part].items() if key not in ("sampling", "resources")}
        return canonical(model if model["revision"] else model | {"model": os.path.normpath(model["model"])})

    def needs(self, part: str, resource: str) -> int:
        """What a job with a part requests on a cluster: gpu, mem_mb, or runtime (in minutes)."""
        return self.entry[part]["resources"][resource]

    def grid(self) -> int:
        """The side of stage I's pictures in pixels: that of a folder's U-Net, and IF's for a repository on the hub."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # a broken one is refused by the job
            unet = json.loads((Path(self.folder("stage_1")) / "unet/config.json").read_text(encoding="utf-8"))
            return int(unet["sample_size"])
        return GRID

    def weight_files(self, part: str) -> list[str]:
        """The files of a part that is a folder; of stages I and II only the U-Net and schedulers, not a text encoder
        beside them."""
        if self.entry[part]["revision"]:
            return []
        own = ("unet/*", "*scheduler/*") if part in STAGES else ("**/*",)
        files = [path for pattern in own for path in Path(self.folder(part)).glob(pattern)]
        return sorted(str(path) for path in files if path.is_file())

    def check_folders(self) -> None:
        """Raise ValueError if a part that is on this machine is not there, or not whole; the message names the entry."""
        names = {part: part for part in self._names() if not self.entry[part]["revision"]}
        if not self.entry["stage_1"]["revision"]:
            names |= {option: "stage_1" for option in ("safety_checker", "watermark") if self.entry[option]}
        for part, entry in names.items():
            folder, variant = Path(self.folder(entry)), self.entry[entry]["variant"]
            where = f"config.yaml: cascades/{self.name}/{entry}/model: {self.entry[entry]['model']}"
            if not folder.is_dir():
                raise ValueError(f"{where} must be a folder, and there is none of that name")
            try:
                files_of(part, variant, files_in(folder, part))
            except ValueError as error:
                option = "" if part == entry else f" ({part}: false does without it)"
                raise ValueError(f"{where} {error}{option}") from error
        judge = self.entry["judge"]
        if judge not in (None, ITSELF) and not os.path.isfile(self.in_project(judge)):
            raise ValueError(f"config.yaml: cascades/{self.name}/judge must be a file, or itself; there is no {judge}")

    def _names(self):
        """The configured parts that have an entry of their own."""
        names = [*STAGES, "stage_3", "clip_judge", *([] if self.embeds_path else ["text_encoder"])]
        return [part for part in names if self.entry[part] is not None]

    # --- the hub ---

    def on_hub(self) -> dict[str, dict]:
        """{part: where it is} of the parts that are repositories on the hub."""
        parts = {part: self.entry[part] for part in self._names()}
        # These two are in stage I's repository.
        parts |= {option: self.entry["stage_1"] for option in ("safety_checker", "watermark") if self.entry[option]}
        keys = ("model", "revision", "variant")
        return canonical(
            {part: {key: model[key] for key in keys} for part, model in parts.items() if model["revision"]}
        )

    def fetched(self, *parts: str) -> list[str]:
        """The files that say where in the hub's cache these parts (by default all) are; a part that is a folder has none."""
        on_hub = self.on_hub()
        return [
            f"results/{self.name}/weights/{part}_{fingerprint(model)}.json"
            for part, model in on_hub.items()
            if part in (parts or on_hub)
        ]

    def to_fetch(self) -> dict[str, dict]:
        """{part: where it is} of the parts on the hub that are still to be downloaded."""
        return {part: model for part, model in self.on_hub().items() if still_to_make(self.fetched(part))}

    # --- the embeddings of prompts ---

    def embeds_source(self) -> list[str]:
        """The files of the user's embeddings."""
        path = Path(self.embeds_path)
        return sorted(map(str, path.glob("*.safetensors"))) if path.is_dir() else [str(path)]

    def encoder(self) -> dict:
        """Everything that determines the embedding of a prompt: the text encoder, or the user's file, and the code that
        encodes or reads. So embeddings are a cache, in which nothing is ever out of date.

        Raises:
            ValueError: there is no text encoder, or the user's embeddings cannot be read; the message names the entry.
        """
        if self._encoder is None:
            made = self._given_embeds() if self.embeds_path else self._own_encoder()
            code = "fun/data/embeds.py" if self.embeds_path else "fun/diffusion/text_encoder.py"
            self._encoder = made | {"code": hashlib.sha256((SCRIPTS / code).read_bytes()).hexdigest()}
        return self._encoder

    def _given_embeds(self):
        files = self.embeds_source()
        if not files:
            allowed = "a .pth file, or a folder such as this project's results/<cascade>/prompt_embeds"
            raise ValueError(f"config.yaml: prompt_embeds must be {allowed}: {self.embeds_path} has no *.safetensors")
        try:
            return {"identity": embeds_identity(files, HASHES)}
        except OSError as error:
            raise ValueError(f"config.yaml: prompt_embeds cannot be read: {error}") from error

    def _own_encoder(self):
        model = self.model("text_encoder")
        try:
            identity = encoder_identity(self.folder("text_encoder"), model["revision"], HASHES)
        except ValueError as error:
            raise ValueError(f"config.yaml: cascades/{self.name}/text_encoder/model: {error}") from error
        keys = ("variant", "dtype", "load_in_8bit", "max_length", "truncate")
        return {key: model[key] for key in keys} | {"identity": identity}

    def embedding(self, prompt: str) -> str:
        """The file of a prompt's embedding. Those read from the user's folder are in a folder of their own, because the
        user's may be results/<cascade>/prompt_embeds, whose content would change as they are written."""
        folder = f"prompt_embeds/{self.encoder()['identity'][:12]}" if self.embeds_path else "prompt_embeds"
        return f"results/{self.name}/{folder}/{embedding_key(prompt, self.encoder())}.safetensors"


def still_to_make(files: Iterable[str]) -> list[str]:
    """The files that do not exist. One that exists is final, since its name is a hash of all that determines it, and no
    rule makes it again: Snakemake overlooks that a job has changed if another one runs before it, ancient() or not."""
    return [file for file in files if not os.path.exists(file)]

"""``--arch hugging_face``: encoder-decoders of transformers, imported by ``genft import-hf``."""

import hashlib
from argparse import SUPPRESS, ArgumentParser
from pathlib import Path
from typing import Any

import torch
from fairseq.models import (
    FairseqEncoderDecoderModel,
    register_model,
    register_model_architecture,
)

from genft_fairseq.errors import UserError, check_range
from genft_fairseq.models.huggingface import architectures
from genft_fairseq.models.huggingface.decoder import HuggingFaceDecoder
from genft_fairseq.models.huggingface.description import Description, loads, read
from genft_fairseq.models.huggingface.encoder import HuggingFaceEncoder
from genft_fairseq.models.output_layer import NEVER, FixedBiasLinear


@register_model("hugging_face")
class HuggingFaceModel(FairseqEncoderDecoderModel):
    """T5, BART, or an encoder-decoder of BERT, RoBERTa and GPT-2, on fairseq's dictionary."""

    @classmethod
    def add_args(cls, parser: ArgumentParser) -> None:
        """Add the model's flags."""
        parser.add_argument(
            "--hugging-face",
            metavar="DIR",
            help="the imported model: a folder of genft import-hf. What it is, not its parameters: "
            "those are given by --finetune-from-model DIR/model.pt",
        )
        for name, what in (("dropout", "hidden states"), ("attention-dropout", "attention")):
            parser.add_argument(
                f"--{name}",
                type=float,
                metavar="P",
                default=SUPPRESS,
                help=f"dropout of {what} (default: the imported model's)",
            )
        parser.add_argument(
            "--checkpoint-activations",
            action="store_true",
            default=SUPPRESS,
            help="compute the activations of each layer again in the backward pass",
        )
        parser.add_argument(
            "--leave-out-longer",
            action="store_true",
            default=SUPPRESS,
            help="leave out examples that are longer than the model's positions, which are an "
            "error otherwise (--truncate-source cuts sources)",
        )

    @classmethod
    def build_model(cls, args: Any, task: Any) -> "HuggingFaceModel":
        """Build the model that the folder or the checkpoint describes, with random parameters.

        Raises:
            UserError: there is no description, the dictionary is another, or a flag does not apply.
        """
        hugging_face(args)
        described = description(args)
        # A checkpoint is loaded without the folder.
        args.hugging_face_description = described.flat()
        if getattr(task.cfg, "left_pad_target", False) in (True, "True"):
            raise UserError("--left-pad-target must be False with --arch hugging_face")
        for name in ("dropout", "attention_dropout"):
            value = getattr(args, name)
            if value is not None:
                check_range(f"--{name.replace('_', '-')}", value, 0 <= value < 1, "[0, 1)")
        described.source.require_dictionary(task.source_dictionary, "the source")
        described.target.require_dictionary(task.target_dictionary, "the target")
        whole = architectures.build(described, args.dropout, args.attention_dropout)
        model = cls.of(whole, described, task.source_dictionary, task.target_dictionary)
        if args.checkpoint_activations:
            again = {"use_reentrant": False, "preserve_rng_state": True}
            for stack in (model.encoder.stack, model.decoder.stack):
                stack.gradient_checkpointing_enable(again)
        model.decoder.cfg = args
        if not args.leave_out_longer:
            refuse_longer(task)
        return model

    @classmethod
    def of(
        cls, whole: Any, described: Description, source_dictionary: Any, target_dictionary: Any
    ) -> "HuggingFaceModel":
        """Put a model of transformers, numbered as the dictionaries, behind fairseq's interfaces.

        Args:
            whole: the model of transformers, whose parameters are shared.
            described: its description.
            source_dictionary: of fairseq.
            target_dictionary: of fairseq.
        """
        parts = architectures.parts(whole)
        encoder = HuggingFaceEncoder(
            source_dictionary,
            *(parts.encoder, parts.project, parts.unused, described.source_positions),
        )
        output = parts.output
        if output.bias is None:
            output = FixedBiasLinear(output.weight, constants(described, parts.bias))
        decoder = HuggingFaceDecoder(
            target_dictionary,
            *(parts.decoder, parts.head, parts.scale, output),
            start=described.target.index(described.start),
            positions=described.target_positions,
        )
        return cls(encoder, decoder)

    @staticmethod
    def unchanged_on_resume(args: Any) -> dict[str, Any]:
        """Return the settings that a resumed run cannot change, by their flags."""
        described = description(args)
        digest = hashlib.sha256(described.flat().encode()).hexdigest()[:12]
        return {"--hugging-face": f"{described.model_type} {digest}"}

    def prepare_for_inference_(self, cfg: Any) -> None:
        """Prepare to decode; see fairseq's own.

        Raises:
            UserError: ``--retain-dropout``, which does not reach the modules of transformers.
        """
        if getattr(getattr(cfg, "generation", None), "retain_dropout", False):
            raise UserError("--retain-dropout does not reach an imported model: leave it out")
        super().prepare_for_inference_(cfg)

    def max_positions(self) -> tuple[int, int]:
        """Return the maximum lengths of a source and of a target in tokens."""
        return self.encoder.max_positions(), self.decoder.max_positions()


def description(args: Any) -> Description:
    """Return the description that a model's settings, of a checkpoint or a command line, name.

    Raises:
        UserError: there is none, or it is broken.
    """
    given, held = getattr(args, "hugging_face", None), getattr(args, "hugging_face_description", "")
    if held:
        return loads(held, "the checkpoint")
    if not given:
        raise UserError("--arch hugging_face needs --hugging-face DIR, made by genft import-hf")
    return read(Path(given))


def constants(described: Description, bias: torch.Tensor | None) -> torch.Tensor:
    """Return (V,), the constants added to the logits: the model's own, and ``NEVER``.

    ``NEVER`` is of symbols that the model lacks, but for those that were added to it.
    """
    side = described.target
    added = torch.zeros(len(side))
    missing = torch.tensor(side.rows) < 0
    missing[len(side) - len(side.added) :] = False
    if bias is not None:
        added += bias.detach()
    return added.masked_fill(missing, NEVER)


def refuse_longer(task: Any) -> None:
    """Make a task refuse examples that are longer than the model's positions.

    fairseq leaves them out of training, with a warning in the log.
    """
    keep_shorter = task.filter_indices_by_size

    def filter_indices_by_size(
        indices: Any, dataset: Any, max_positions: Any = None, ignore_invalid_inputs: bool = False
    ) -> Any:
        _, ignored = dataset.filter_indices_by_size(indices, max_positions)
        if len(ignored):
            first = ignored[0]
            raise UserError(
                f"{len(ignored)} of {len(indices)} examples are longer than (source, target) may "
                f"be, {max_positions}: example {first} has {tuple(map(int, dataset.size(first)))} "
                "tokens; cut sources with --truncate-source --max-source-positions N, or leave the "
                "examples out with --leave-out-longer"
            )
        return keep_shorter(indices, dataset, max_positions, ignore_invalid_inputs)

    task.filter_indices_by_size = filter_indices_by_size


@register_model_architecture("hugging_face", "hugging_face")
def hugging_face(args: Any) -> None:
    """The imported model, unchanged."""
    for name in ("dropout", "attention_dropout"):
        setattr(args, name, getattr(args, name, None))
    for name in ("checkpoint_activations", "leave_out_longer"):
        setattr(args, name, getattr(args, name, False))

"""LSH attention, forward and backward, as plain functions that launch the kernels."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from reformer.functional.windows import Grid
from reformer.fused import Inputs, Options, empty_heads
from reformer.kernels.configurations import Configuration, Pass, configuration_for, shape_of
from reformer.kernels.inputs import check_inputs, check_results
from reformer.kernels.launch import bytes_of, ceil_div, empty, launch, padded, precision, rows, strides, upcasts
from reformer.kernels.requirements import check_options
from reformer.kernels.sorting import chunk_of_position, sort_by_bucket

ROWS = 32
"""Rows of a program that goes over the rows once: few, since such programs wait for memory, and many can wait."""


def attend(
    query: Tensor,
    value: Tensor,
    bucket: Tensor,
    valid: Tensor | None,
    score_scale: float,
    chunk_len: int,
    n_before: int,
    n_after: int,
    wrap: str,
    causal: bool,
    same_bucket_only: bool,
    deduplicate: bool,
    dropout: float,
    seed: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """`reformer.functional.lsh.lsh_attention` and what its backward pass needs.

    Args:
        query: query_BHLK, strided as it may be.
        value: value_BHLK of the same shape and type.
        bucket: bucket_BHRL.
        valid: valid_BL.
        score_scale: As in the specification, and so are the following.
        chunk_len: Of the window; any length.
        n_before: Of the window.
        n_after: Of the window.
        wrap: Of the window.
        causal: See the specification.
        same_bucket_only: See the specification.
        deduplicate: See the specification. Costs an operation on each score for each pair of rounds that can meet.
        dropout: Not served: must be 0.
        seed: Of the dropout.

    Returns:
        out_BHLK, strided as [B, L, H, K] is; lse_BHL in float32, to base two, over all rounds; and position_BHRS.

    Raises:
        RuntimeError: This machine cannot run the kernels.
        ValueError: The kernels do not serve such tensors or options, or the tensors do not belong together.
    """
    options = Options(
        score_scale, chunk_len, n_before, n_after, wrap, causal, same_bucket_only, deduplicate, dropout, seed
    )
    inputs = Inputs(query, value, bucket, valid)
    check_options(options)
    check_inputs(inputs)
    position = sort_by_bucket(bucket)
    return *_Call.of(inputs, options, position).forward(), position


def attend_backward(
    d_out: Tensor,
    query: Tensor,
    value: Tensor,
    bucket: Tensor,
    valid: Tensor | None,
    out: Tensor,
    lse: Tensor,
    position: Tensor,
    score_scale: float,
    chunk_len: int,
    n_before: int,
    n_after: int,
    wrap: str,
    causal: bool,
    same_bucket_only: bool,
    deduplicate: bool,
    dropout: float,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """The gradient of `attend` from that of its first result; equal bit for bit every time.

    Args:
        d_out: d_out_BHLK.
        query: As `attend` got it, and so are `value`, `bucket` and `valid`.
        value: See above.
        bucket: See above.
        valid: See above.
        out: As `attend` returned it, and so are `lse` and `position`.
        lse: See above.
        position: See above.
        score_scale: The options, as `attend` got them.
        chunk_len: See above.
        n_before: See above.
        n_after: See above.
        wrap: See above.
        causal: See above.
        same_bucket_only: See above.
        deduplicate: See above.
        dropout: See above.
        seed: See above.

    Returns:
        d_query_BHLK and d_value_BHLK, strided as [B, L, H, K] is.

    Raises:
        RuntimeError: This machine cannot run the kernels.
        ValueError: The kernels do not serve such tensors or options, or the tensors do not belong together.
    """
    options = Options(
        score_scale, chunk_len, n_before, n_after, wrap, causal, same_bucket_only, deduplicate, dropout, seed
    )
    inputs = Inputs(query, value, bucket, valid)
    check_options(options)
    check_inputs(inputs)
    check_results(inputs, d_out, out, lse, position)
    return _Call.of(inputs, options, position).backward(d_out, out, lse)


class _Call(NamedTuple):
    """One call's inputs as the kernels read them."""

    query_BHLK: Tensor
    value_BHLK: Tensor
    bucket_BHRL: Tensor | None
    valid_BL: Tensor | None
    chunk_BHRL: Tensor | None
    position_BHRS: Tensor
    score_scale: float
    grid: Grid
    meaning: dict[str, Any]

    @classmethod
    def of(cls, inputs: Inputs, options: Options, position_BHRS: Tensor) -> "_Call":
        grid, meaning = Grid(options.window, *inputs.bucket_BHRL.shape[2:]), options._asdict()
        cuts = {"chunk_len": grid.chunk_len, "chunks_per_round": grid.chunks_per_round}
        return cls(
            rows(inputs.query_BHLK),
            rows(inputs.value_BHLK),
            _signed(inputs.bucket_BHRL) if options.same_bucket_only else None,
            bytes_of(inputs.valid_BL),
            chunk_of_position(position_BHRS, **cuts) if options.deduplicate else None,
            position_BHRS,
            options.score_scale,
            grid,
            {name.upper(): meaning[name] for name in ("causal", "wrap", "same_bucket_only", "deduplicate")},
        )

    def forward(self) -> tuple[Tensor, Tensor]:
        """out_BHLK and lse_BHL."""
        from reformer.kernels.forward_kernels import attend_kernel
        from reformer.kernels.row_kernels import combine_rounds_kernel, row_terms_kernel

        unit_BHL, out_BHLK, lse_BHL = self._by_row(), empty_heads(self.value_BHLK), self._by_row()
        query_strides, unread = strides(self.query_BHLK), (0,) * 6
        self._row_launch(row_terms_kernel, self.query_BHLK, None, None, unit_BHL, None, *query_strides, *unread)
        n_rounds, outs_BHRLK = self.grid.n_rounds, self._per_round(out_BHLK)
        lses_BHRL = lse_BHL if n_rounds == 1 else self._by_row(n_rounds)
        inputs = (self.query_BHLK, self.value_BHLK, unit_BHL)
        self._chunk_launch("forward", attend_kernel, inputs, (outs_BHRLK, lses_BHRL), outs_BHRLK)
        if n_rounds > 1:
            rounds = (outs_BHRLK, lses_BHRL)
            self._row_launch(combine_rounds_kernel, *rounds, out_BHLK, lse_BHL, *strides(out_BHLK), n_rounds=n_rounds)
        return out_BHLK, lse_BHL

    def backward(self, d_out_BHLK: Tensor, out_BHLK: Tensor, lse_BHL: Tensor) -> tuple[Tensor, Tensor]:
        """d_query_BHLK and d_value_BHLK."""
        from reformer.kernels.backward_kernels import attend_backward_kernel
        from reformer.kernels.row_kernels import row_terms_kernel, sum_rounds_kernel

        unit_BHL, delta_BHL = self._by_row(), self._by_row()
        read = (self.query_BHLK, rows(out_BHLK), rows(d_out_BHLK))
        self._row_launch(row_terms_kernel, *read, unit_BHL, delta_BHL, *strides(*read))
        n_rounds, whole = self.grid.n_rounds, (empty_heads(self.query_BHLK), empty_heads(self.value_BHLK))
        parts = (self._per_round(whole[0]), self._per_round(whole[1]))
        inputs = (self.query_BHLK, self.value_BHLK, read[2], unit_BHL, lse_BHL.contiguous(), delta_BHL)
        self._chunk_launch("backward", attend_backward_kernel, inputs, parts, read[2], parts[0])
        if n_rounds > 1:
            self._row_launch(sum_rounds_kernel, *parts, *whole, *strides(whole[0]), n_rounds=n_rounds)
        return whole

    def _by_row(self, *n_rounds: int) -> Tensor:
        batch, heads, length, _ = self.query_BHLK.shape
        return empty(batch, heads, *n_rounds, length, dtype=torch.float32, device=self.query_BHLK.device)

    def _per_round(self, whole_BHLK: Tensor) -> Tensor:
        """Memory for each round's part of a result; the result itself if there is one round."""
        if self.grid.n_rounds == 1:
            return whole_BHLK.unsqueeze(2)
        batch, heads, length, width = whole_BHLK.shape
        shape = (batch, heads, self.grid.n_rounds, length, width)
        return empty(*shape, dtype=whole_BHLK.dtype, device=whole_BHLK.device)

    @property
    def _widths(self) -> dict[str, int]:
        width = self.query_BHLK.shape[-1]
        return {"K": width, "WIDTH": padded(width)}

    def _row_launch(
        self,
        kernel: Any,  # noqa: ANN401  (Triton is not typed)
        *arguments: Tensor | int | None,
        n_rounds: int | None = None,
    ) -> None:
        batch, heads, length, _ = self.query_BHLK.shape
        n_tiles = ceil_div(length, ROWS)
        counts = (n_tiles, heads, length) if n_rounds is None else (n_tiles, heads, n_rounds, length)
        constants = {**self._widths, "ROWS": ROWS, "UPCAST": upcasts(self.query_BHLK.dtype), "num_warps": 4}
        launch(kernel, n_tiles * batch * heads, (*arguments, *counts), **constants)

    def _chunk_launch(
        self,
        step: Pass,
        kernel: Any,  # noqa: ANN401  (Triton is not typed)
        inputs: tuple[Tensor, ...],
        outputs: tuple[Tensor, ...],
        *strided: Tensor,
    ) -> None:
        """Launch with the strides of queries, of values, and of what else is `strided`."""
        batch, heads, length, width = self.query_BHLK.shape
        dtype, grid = self.query_BHLK.dtype, self.grid
        shape = shape_of(step, device=self.query_BHLK.device, chunk_len=grid.chunk_len, d_head=width, dtype=dtype)
        configuration = configuration_for(shape)
        n_tiles = grid.n_chunks * ceil_div(grid.chunk_len, configuration.rows)
        arguments = (
            *inputs,
            self.position_BHRS,
            self.valid_BL,
            self.bucket_BHRL,
            self.chunk_BHRL,
            *outputs,
            *strides(self.query_BHLK, self.value_BHLK, *strided),
            n_tiles,
            heads,
            grid.n_rounds,
            length,
            grid.chunk_len,
            grid.chunks_per_round,
            grid.n_before,
            grid.n_seen,
            grid.window.n_before + grid.window.n_after + 1,
            self.score_scale,
        )
        launch(
            kernel,
            n_tiles * batch * heads,
            arguments,
            **self._widths,
            **self.meaning,
            **tiles(configuration, grid.chunk_len, deduplicate=self.meaning["DEDUPLICATE"]),
            PRECISION=precision(dtype),
            UPCAST=upcasts(dtype),
        )


def _signed(bucket_BHRL: Tensor) -> Tensor:
    """Buckets as kernels compare them."""
    return (bucket_BHRL if bucket_BHRL.dtype.is_signed else bucket_BHRL.to(torch.int64)).contiguous()


def tiles(configuration: Configuration, chunk_len: int, *, deduplicate: bool) -> dict[str, int | None]:
    """A configuration as the chunk kernels take it.

    Counting how often pairs meet needs registers of its own, so that then they are not limited.
    """
    return {
        "ROWS": configuration.rows,
        "COLUMNS": configuration.columns,
        "ROW_TILES": ceil_div(chunk_len, configuration.rows),
        "COLUMN_TILES": ceil_div(chunk_len, configuration.columns),
        "STAGES": configuration.n_stages,
        "num_warps": configuration.n_warps,
        "num_stages": configuration.n_stages,
        "maxnreg": None if deduplicate else configuration.n_registers,
    }

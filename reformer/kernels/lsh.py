"""LSH attention, forward and backward, as plain functions that launch the kernels."""

from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor

from reformer.functional.dropping import Dropout
from reformer.functional.windows import Grid, Window, Wrap
from reformer.kernels.configurations import Configuration, Pass, configuration_for, shape_of
from reformer.kernels.launch import bytes_of, ceil_div, empty, empty_heads, padded, precision, rows, upcasts
from reformer.kernels.requirements import check_can_run, check_chunk_len, check_no_dropout
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
        ValueError: The kernels do not serve such tensors or options.
    """
    window = _window(chunk_len, n_before, n_after, wrap)
    call = _Call.of(query, value, bucket, valid, None, score_scale, window, causal, same_bucket_only, deduplicate)
    check_no_dropout(Dropout(dropout, seed))
    out, lse = call.forward()
    return out, lse, call.position_BHRS


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
        ValueError: The kernels do not serve such tensors or options.
    """
    window = _window(chunk_len, n_before, n_after, wrap)
    call = _Call.of(query, value, bucket, valid, position, score_scale, window, causal, same_bucket_only, deduplicate)
    check_no_dropout(Dropout(dropout, seed))
    return call.backward(d_out, out, lse)


def _window(chunk_len: int, n_before: int, n_after: int, wrap: str) -> Window:
    check_chunk_len(chunk_len)
    ends: Any = wrap
    if wrap not in get_args(Wrap):
        raise ValueError(f"backend='triton': wrap={wrap!r} is not one of {', '.join(get_args(Wrap))}")
    return Window(chunk_len, n_before, n_after, ends)


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
    def of(
        cls,
        query_BHLK: Tensor,
        value_BHLK: Tensor,
        bucket_BHRL: Tensor,
        valid_BL: Tensor | None,
        position_BHRS: Tensor | None,
        score_scale: float,
        window: Window,
        causal: bool,
        same_bucket_only: bool,
        deduplicate: bool,
    ) -> "_Call":
        check_can_run(query_BHLK.device, d_head=query_BHLK.shape[-1], dtype=query_BHLK.dtype)
        if value_BHLK.shape != query_BHLK.shape or value_BHLK.dtype != query_BHLK.dtype:
            raise ValueError(
                f"backend='triton': values are {value_BHLK.dtype} of shape {tuple(value_BHLK.shape)}, queries are "
                f"{query_BHLK.dtype} of shape {tuple(query_BHLK.shape)}; the kernels need them alike"
            )
        grid = Grid(window, *bucket_BHRL.shape[2:])
        if position_BHRS is None:
            position_BHRS = sort_by_bucket(bucket_BHRL)
        chunk_BHRL = None
        if deduplicate:
            chunk_BHRL = chunk_of_position(
                position_BHRS, chunk_len=grid.chunk_len, chunks_per_round=grid.chunks_per_round
            )
        return cls(
            rows(query_BHLK),
            rows(value_BHLK),
            bucket_BHRL.contiguous() if same_bucket_only else None,
            bytes_of(valid_BL),
            chunk_BHRL,
            position_BHRS,
            score_scale,
            grid,
            {
                "CAUSAL": causal,
                "WRAP": window.wrap,
                "SAME_BUCKET_ONLY": same_bucket_only,
                "DEDUPLICATE": deduplicate,
            },
        )

    def forward(self) -> tuple[Tensor, Tensor]:
        """out_BHLK and lse_BHL."""
        from reformer.kernels.forward_kernels import attend_kernel
        from reformer.kernels.row_kernels import combine_rounds_kernel, row_terms_kernel

        unit_BHL = self._by_row()
        self._row_launch(
            row_terms_kernel,
            (self.query_BHLK, None, None, unit_BHL, None),
            *self.query_BHLK.stride()[:3],
            *(0,) * 6,
        )
        out_BHLK, lse_BHL = empty_heads(self.value_BHLK), self._by_row()
        outs_BHRLK, lses_BHRL = self._per_round(out_BHLK), self._by_row(self.grid.n_rounds)
        if self.grid.n_rounds == 1:
            lses_BHRL = lse_BHL
        self._chunk_launch(
            "forward",
            attend_kernel,
            (self.query_BHLK, self.value_BHLK, unit_BHL),
            (outs_BHRLK, lses_BHRL),
            *self.query_BHLK.stride()[:3],
            *self.value_BHLK.stride()[:3],
            *outs_BHRLK.stride()[:4],
        )
        if self.grid.n_rounds > 1:
            self._row_launch(
                combine_rounds_kernel,
                (outs_BHRLK, lses_BHRL, out_BHLK, lse_BHL),
                *out_BHLK.stride()[:3],
                n_rounds=self.grid.n_rounds,
            )
        return out_BHLK, lse_BHL

    def backward(self, d_out_BHLK: Tensor, out_BHLK: Tensor, lse_BHL: Tensor) -> tuple[Tensor, Tensor]:
        """d_query_BHLK and d_value_BHLK."""
        from reformer.kernels.backward_kernels import attend_backward_kernel
        from reformer.kernels.row_kernels import row_terms_kernel, sum_rounds_kernel

        d_out_BHLK, out_BHLK = rows(d_out_BHLK), rows(out_BHLK)
        unit_BHL, delta_BHL = self._by_row(), self._by_row()
        self._row_launch(
            row_terms_kernel,
            (self.query_BHLK, out_BHLK, d_out_BHLK, unit_BHL, delta_BHL),
            *self.query_BHLK.stride()[:3],
            *out_BHLK.stride()[:3],
            *d_out_BHLK.stride()[:3],
        )
        d_query_BHLK, d_value_BHLK = empty_heads(self.query_BHLK), empty_heads(self.value_BHLK)
        d_queries_BHRLK, d_values_BHRLK = self._per_round(d_query_BHLK), self._per_round(d_value_BHLK)
        self._chunk_launch(
            "backward",
            attend_backward_kernel,
            (self.query_BHLK, self.value_BHLK, d_out_BHLK, unit_BHL, lse_BHL.contiguous(), delta_BHL),
            (d_queries_BHRLK, d_values_BHRLK),
            *self.query_BHLK.stride()[:3],
            *self.value_BHLK.stride()[:3],
            *d_out_BHLK.stride()[:3],
            *d_queries_BHRLK.stride()[:4],
        )
        if self.grid.n_rounds > 1:
            self._row_launch(
                sum_rounds_kernel,
                (d_queries_BHRLK, d_values_BHRLK, d_query_BHLK, d_value_BHLK),
                *d_query_BHLK.stride()[:3],
                n_rounds=self.grid.n_rounds,
            )
        return d_query_BHLK, d_value_BHLK

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
        tensors: tuple[Tensor | None, ...],
        *strides: int,
        n_rounds: int | None = None,
    ) -> None:
        batch, heads, length, _ = self.query_BHLK.shape
        n_tiles = ceil_div(length, ROWS)
        counts = (n_tiles, heads, length) if n_rounds is None else (n_tiles, heads, n_rounds, length)
        upcast = upcasts(self.query_BHLK.dtype)
        kernel[(n_tiles * batch * heads,)](
            *tensors, *strides, *counts, **self._widths, ROWS=ROWS, UPCAST=upcast, num_warps=4
        )

    def _chunk_launch(
        self,
        step: Pass,
        kernel: Any,  # noqa: ANN401  (Triton is not typed)
        inputs: tuple[Tensor, ...],
        outputs: tuple[Tensor, ...],
        *strides: int,
    ) -> None:
        batch, heads, length, width = self.query_BHLK.shape
        dtype, window = self.query_BHLK.dtype, self.grid.window
        shape = shape_of(step, device=self.query_BHLK.device, chunk_len=self.grid.chunk_len, d_head=width, dtype=dtype)
        configuration = configuration_for(shape)
        ring = {"across_rounds": self.grid.n_chunks, "per_round": self.grid.chunks_per_round}.get(window.wrap)
        row_tiles = ceil_div(self.grid.chunk_len, configuration.rows)
        n_tiles = self.grid.n_chunks * row_tiles
        kernel[(n_tiles * batch * heads,)](
            *inputs,
            self.position_BHRS,
            self.valid_BL,
            self.bucket_BHRL,
            self.chunk_BHRL,
            *outputs,
            *strides,
            n_tiles,
            heads,
            self.grid.n_rounds,
            length,
            self.grid.chunk_len,
            self.grid.chunks_per_round,
            window.n_before if ring is None else window.n_before % ring,
            self.grid.n_seen,
            window.n_before + window.n_after + 1,
            self.score_scale,
            **self._widths,
            **self.meaning,
            **tiles(configuration, self.grid.chunk_len, deduplicate=self.meaning["DEDUPLICATE"]),
            PRECISION=precision(dtype),
            UPCAST=upcasts(dtype),
        )


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

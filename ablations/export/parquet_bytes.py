"""Data tables as Parquet, which keeps types and tells null from empty. Needs the extra `parquet`."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from ablations.export.columns import DataTable, Kind
from ablations.harness.errors import UserError

_TYPES: Mapping[Kind, str] = {"text": "string", "integer": "int64", "number": "float64", "truth": "bool"}


def refuse_without_pyarrow() -> None:
    """Say what is missing before anything is written.

    Raises:
        UserError: The extra is not installed.
    """
    if find_spec("pyarrow") is None:
        raise UserError(
            "--format parquet needs the extra `parquet`, which is not installed: pip install "
            "'reformer-suite[parquet]'. Or name the formats that you want, as --format csv --format latex."
        )


def parquet_bytes(table: DataTable) -> bytes:
    """The whole file.

    Raises:
        UserError: A number is too large for the format.
    """
    import pyarrow as pa
    from pyarrow import parquet

    sink = pa.BufferOutputStream()
    parquet.write_table(_arrow(table, pa), sink)
    return bytes(sink.getvalue().to_pybytes())


def _arrow(table: DataTable, pa: Any) -> Any:  # noqa: ANN401  (pyarrow has no types)
    schema = pa.schema([(one.name, pa.type_for_alias(_TYPES[one.kind])) for one in table.headings])
    arrays = []
    for index, field in enumerate(schema):
        try:
            arrays.append(pa.array([row[index] for row in table.rows], type=field.type))
        except (OverflowError, pa.ArrowInvalid) as error:
            raise UserError(
                f"{table.name}.parquet cannot hold column {field.name}: {error}. Mend the record, or leave "
                "Parquet out: name the formats that you want, as --format csv."
            ) from None
    return pa.Table.from_arrays(arrays, schema=schema)

"""Row numbers in the user's data survive what TRL does to them."""

from datasets import Dataset

from preflens.training.source_rows import SOURCE_ROW, source_rows


def test_filtered_data_keep_the_numbers_of_their_rows():
    data = Dataset.from_list([{"a": k} for k in range(4)]).map(lambda row: row).filter(lambda row: row["a"] % 2)
    assert list(source_rows(data)) == [1, 3]


def test_a_column_of_row_numbers_is_used():
    assert list(source_rows(Dataset.from_list([{SOURCE_ROW: 7}, {SOURCE_ROW: 2}]))) == [7, 2]


def test_streams_and_precomputed_references_have_no_numbers():
    assert source_rows(iter(())) is None
    assert source_rows(Dataset.from_list([{"ref_chosen_logps": 0.0}])) is None
    assert list(source_rows([1, 2])) == [0, 1]

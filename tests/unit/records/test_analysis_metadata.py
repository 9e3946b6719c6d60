"""Metadata of an analysis takes keywords only, and survives as JSON."""

import pytest

from preflens.records.analysis_metadata import AnalysisMetadata
from preflens.records.json_codec import from_json, to_json
from tests.cases.analyses import one_pair


def test_metadata_takes_keywords_only_and_survives():
    metadata = one_pair().metadata
    assert from_json(AnalysisMetadata, to_json(metadata)) == metadata
    with pytest.raises(TypeError, match="positional"):
        AnalysisMetadata(*vars(metadata).values())

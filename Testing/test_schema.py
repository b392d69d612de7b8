"""`report.json` against its published schema: real reports pass, and a key that is renamed or lost does not."""

import json
from dataclasses import fields, is_dataclass
from typing import get_args, get_type_hints

import jsonschema
import numpy as np
import pytest

from scarnet.quantification import QuantificationParameters, quantify
from scarnet.quantification.report import SCHEMA, ScarReport, report_schema
from scarnet.segmentation import ScarSegmentation


@pytest.fixture(scope="module")
def validator():
    schema = report_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.fixture(scope="module")
def values(phantom):
    return as_json(quantify(phantom.series, phantom.labels))


def as_json(report):
    return json.loads(json.dumps(report.to_dict(), allow_nan=False))


def test_the_schema_is_this_version(validator):
    assert validator.schema["$id"] == SCHEMA == "scarnet-report/1"


def test_reports_of_every_kind_pass(validator, values, small_phantom):
    series, labels = small_phantom.series, small_phantom.labels
    validator.validate(values)
    segmentation = ScarSegmentation(
        labels, None, np.zeros(3), np.full(len(labels), 0.3), {"name": "m"}, {"flips": True}
    )
    point = tuple(series.geometry.index_to_lps(np.array([2, 10, 10])))
    parameters = QuantificationParameters(1.05, point, point)
    validator.validate(as_json(quantify(series, labels, segmentation=segmentation, parameters=parameters)))
    edits = {"Scar": {"model_ml": 1.0}}
    validator.validate(as_json(quantify(series, labels, segmentation=segmentation, provenance={"edits": edits})))
    validator.validate(as_json(quantify(series, np.minimum(labels, 2))))  # no scar
    muscle = np.where(labels > 0, 2, 0).astype(np.uint8)  # no cavity: no segments, no thresholds
    report = as_json(quantify(series, muscle))
    assert not report["aha17"] and not report["thresholds"] and report["context"]["methods_low_percent_lv"] is None
    validator.validate(report)


def paths(value, before=()):
    """Every key of a report, nested ones and those of the first item of a list too."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*before, key)
            yield from paths(inner, (*before, key))
    elif isinstance(value, list) and value:
        yield from paths(value[0], (*before, 0))


#: Free-form places: what a reader, a model or a file puts there is not ours to fix.
FREE = {("provenance", "regions"), ("provenance", "input", "acquisition"), ("provenance", "model")}


def test_no_key_can_be_renamed(validator, values):
    """Each key in turn, under another name: the report no longer validates."""
    tried = 0
    for path in paths(values):
        if any(path[: len(free)] == free and len(path) > len(free) for free in FREE):
            continue
        if path[0] in ("thresholds", "zones") and len(path) == 2:
            continue  # a method's own name; methods may come and go
        changed = json.loads(json.dumps(values))
        place = changed
        for key in path[:-1]:
            place = place[key]
        place[f"{path[-1]}_new"] = place.pop(path[-1])
        assert not validator.is_valid(changed), path
        tried += 1
    assert tried > 70


def test_keys_may_be_added(validator, values):
    changed = json.loads(json.dumps(values))
    for place in (changed, changed["scar"], changed["slices"][0], changed["context"], changed["provenance"]):
        place["something_new"] = 1
    validator.validate(changed)


@pytest.mark.parametrize(
    "path, wrong",
    [
        (("scar", "percent_lv"), 101),
        (("scar", "volume_ml"), -1),
        (("scar", "percent_lv_interval"), [3]),
        (("slices", 0, "weight_mm"), 0),
        (("schema",), "scarnet-report/2"),
        (("lv", "mass_g"), "12"),
        (("provenance", "input", "reconstruction"), "PSIR"),
    ],
)
def test_wrong_values_are_refused(validator, values, path, wrong):
    changed = json.loads(json.dumps(values))
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = wrong
    assert not validator.is_valid(changed)


def test_the_schema_describes_every_field_of_the_report(validator):
    def check(kind, schema):
        described = schema.get("properties", {})
        hints = get_type_hints(kind)
        for field in fields(kind):
            assert field.name in described and field.name in schema["required"], (kind.__name__, field.name)
            for inner in (hints[field.name], *get_args(hints[field.name])):
                if is_dataclass(inner):
                    place = described[field.name]
                    check(inner, place.get("items") or place.get("additionalProperties") or place)

    check(ScarReport, validator.schema)

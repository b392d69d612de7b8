"""DICOM's own tables for `dicom-validator`, which would download them: built from the PyPI package `dicom-standard` (2020).

That package holds PS3.3 as JSON with every macro written out; `dicom-validator`'s own parsers read the conditions and the
enumerated values in its descriptions, as they read the standard's.
"""

import html
import importlib.metadata
import json
import re
from pathlib import Path
from xml.etree import ElementTree

SEGMENTATION, COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.34"
#: PS3.3 Table C.17-5: each of these macros is included if and only if Value Type (0040,A040) says so. The package writes
#: them out all together and leaves that out.
_VALUE_TYPES = {
    "numeric-measurement": "NUM",
    "code": "CODE",
    "composite-object-reference": "COMPOSITE",
    "image-reference": "IMAGE",
    "waveform-reference": "WAVEFORM",
    "spatial-coordinates": "SCOORD",
    "3d-spatial-coordinates": "SCOORD3D",
    "temporal-coordinates": "TCOORD",
    "container": "CONTAINER",
}
_CONTENT_SEQUENCE = "(0040,A730)"
_DOCBOOK = "http://docbook.org/ns/docbook"


def standard_folder() -> Path | None:
    """Where the package put its tables (outside the library: `standard` in the environment); None where it is not installed."""
    try:
        files = importlib.metadata.files("dicom-standard") or ()
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((Path(f.locate()).resolve().parent for f in files if f.name == "module_to_attributes.json"), None)


def dicom_info(folder: Path):
    """What `dicom_validator.validator.dicom_file_validator.DicomFileValidator` asks for, for SEG and Comprehensive 3D SR."""
    from dicom_validator.spec_reader.condition_parser import ConditionParser
    from dicom_validator.spec_reader.enum_parser import EnumParser
    from dicom_validator.validator.dicom_info import DicomInfo

    def load(name):
        return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))

    dictionary = {
        entry["tag"]: {
            "name": entry["name"],
            "vr": entry["valueRepresentation"],
            "vm": entry["valueMultiplicity"],
            "prop": "RET" if entry["retired"] == "Y" else "",
        }
        for entry in load("attributes")
    }
    conditions = ConditionParser(dictionary)
    enums = EnumParser(lambda name: None, conditions)

    def use(entry):
        text = (
            f"{entry['usage']} - {entry['conditionalStatement']}" if entry["conditionalStatement"] else entry["usage"]
        )
        return {"use": text} | ({"cond": conditions.parse(text).result_dict()} if len(text) > 1 else {})

    ciods = {"segmentation": SEGMENTATION, "comprehensive-3d-sr": COMPREHENSIVE_3D_SR}
    iods = {uid: {"title": ciod, "modules": {}, "group_macros": {}} for ciod, uid in ciods.items()}
    for table, key, part in (
        ("ciod_to_modules", "moduleId", "modules"),
        ("ciod_to_fg_macros", "macroId", "group_macros"),
    ):
        for entry in load(table):
            if entry["ciodId"] in ciods:
                ref = f"{part}/{entry[key]}"
                iods[ciods[entry["ciodId"]]][part][entry[key]] = {"ref": ref} | use(entry)
    wanted = {f"value/{macro}" for macro in _VALUE_TYPES}
    wanted |= {m["ref"] for iod in iods.values() for part in ("modules", "group_macros") for m in iod[part].values()}
    modules = {ref: {} for ref in wanted}
    for table, key, part in (
        ("module_to_attributes", "moduleId", "modules"),
        ("macro_to_attributes", "macroId", "group_macros"),
        ("macro_to_attributes", "macroId", "value"),
    ):
        for entry in load(table):
            ref = f"{part}/{entry[key]}"
            if ref in wanted:
                _add(modules[ref], entry, dictionary, conditions, enums)
    for tag in ("(5200,9229)", "(5200,9230)"):  # which groups belong here, the object's own table says
        modules["modules/multi-frame-functional-groups"][tag]["items"] = {"include": [{"ref": "FuncGroup"}]}
    _by_value_type(modules)
    return DicomInfo(dictionary, iods, modules)


def _add(module: dict, entry: dict, dictionary: dict, conditions, enums) -> None:
    """One attribute into its place in the tree that its path `module:tag:tag` names."""
    *parents, _ = entry["path"].split(":")[1:]
    for parent in parents:
        module = module[f"({parent[:4]},{parent[4:]})".upper()].setdefault("items", {})
    tag = entry["tag"].upper()
    information = dictionary.get(tag, {"name": tag, "vr": ""})
    found = {"name": information["name"], "type": entry["type"]}
    if entry["type"] in ("1C", "2C", "3"):
        text = html.unescape(re.sub(r"<[^>]+>", " ", entry["description"]))
        condition = conditions.parse(re.sub(r"\s+", " ", text.replace("\xa0", " ")).strip()).result_dict()
        if condition["type"] != "U":
            found["cond"] = condition
    values = enums.parse(_docbook(entry["description"]), information["vr"])
    values = [v for v in values if v.pop("tag", tag) == tag]
    for value in values:
        if "cond" in value:
            value["cond"] = value["cond"].result_dict()
    if values:
        found["enums"] = values
    module[tag] = found


def _by_value_type(modules: dict) -> None:
    """The SR Document Content Module as the standard has it: content items within content items, each by its value type."""
    content = modules["modules/sr-document-content"]
    item = content[_CONTENT_SEQUENCE]["items"]
    of_a_type = {tag for macro in _VALUE_TYPES for tag in modules[f"value/{macro}"]}
    for level in (content, item):
        for tag in of_a_type & level.keys():
            del level[tag]
        level["include"] = [
            {
                "ref": f"value/{macro}",
                "cond": {"type": "MN", "tag": "(0040,A040)", "op": "=", "values": [value], "index": 0},
            }
            for macro, value in _VALUE_TYPES.items()
        ]
    modules["sr/item"] = item
    item[_CONTENT_SEQUENCE] = content[_CONTENT_SEQUENCE] | {"items": {"include": [{"ref": "sr/item"}]}}


def _docbook(description: str) -> ElementTree.Element:
    """The lists of values in an HTML description as the DocBook lists that they were made from."""
    root = ElementTree.Element("td")
    for title, items in re.findall(r"<strong>(.*?)</strong>\s*</p>\s*<dl>(.*?)</dl>", description, re.DOTALL):
        variables = ElementTree.SubElement(root, f"{{{_DOCBOOK}}}variablelist")
        ElementTree.SubElement(variables, f"{{{_DOCBOOK}}}title").text = (
            html.unescape(title).replace("\xa0", " ").strip()
        )
        for term in re.findall(r"<dt>\s*<span>(.*?)</span>\s*</dt>", items, re.DOTALL):
            entry = ElementTree.SubElement(variables, f"{{{_DOCBOOK}}}varlistentry")
            ElementTree.SubElement(entry, f"{{{_DOCBOOK}}}term").text = html.unescape(term).strip()
    return root

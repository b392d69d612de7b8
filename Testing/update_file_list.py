"""Writes ScarNetSegment/files.cmake: every file that Slicer must install. Run after adding or removing one."""

from pathlib import Path

MODULE = Path(__file__).resolve().parent.parent / "ScarNetSegment"


def listed_files() -> dict[str, list[str]]:
    """CMake variable to paths relative to the module folder: what is compiled, and what is copied as it is."""
    paths = sorted(
        p.relative_to(MODULE).as_posix()
        for folder in ("scarnet", "Resources")
        for p in (MODULE / folder).rglob("*")
        if p.is_file() and "__pycache__" not in p.parts and not p.name.startswith(".")
    )
    return {
        "SCARNET_ENGINE_FILES": [p for p in paths if p.endswith(".py")],
        "SCARNET_RESOURCE_FILES": [p for p in paths if not p.endswith(".py")],
    }


def as_cmake() -> str:
    blocks = ["# Written by Testing/update_file_list.py.\n"]
    for name, paths in listed_files().items():
        blocks.append("set(" + name + "\n" + "".join(f"  {path}\n" for path in paths) + "  )\n")
    return "\n".join(blocks)


if __name__ == "__main__":
    (MODULE / "files.cmake").write_text(as_cmake(), encoding="utf-8")

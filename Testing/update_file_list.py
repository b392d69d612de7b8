"""Writes ScarNetSegment/files.cmake: every file that Slicer must install. Run after adding or removing one."""

from pathlib import Path

MODULE = Path(__file__).resolve().parent.parent / "ScarNetSegment"


def listed_files() -> dict[str, list[str]]:
    """CMake variable to paths relative to the module folder."""

    def under(folder: str) -> list[str]:
        paths = sorted(p.relative_to(MODULE).as_posix() for p in (MODULE / folder).rglob("*") if p.is_file())
        return [p for p in paths if "__pycache__" not in p and not Path(p).name.startswith(".")]

    return {"SCARNET_ENGINE_FILES": under("scarnet"), "SCARNET_RESOURCE_FILES": under("Resources")}


def as_cmake() -> str:
    blocks = ["# Written by Testing/update_file_list.py.\n"]
    for name, paths in listed_files().items():
        blocks.append("set(" + name + "\n" + "".join(f"  {path}\n" for path in paths) + "  )\n")
    return "\n".join(blocks)


if __name__ == "__main__":
    (MODULE / "files.cmake").write_text(as_cmake(), encoding="utf-8")

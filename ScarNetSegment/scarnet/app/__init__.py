"""The same work in a browser: Slicer's scene, views and segment editor (slicer-core, trame-slicer) behind a page.

`door` is what a browser reaches: it lets in who holds the token or password, gives every visitor a process of their own and
passes on between the two. `session` is that process: `workbench` holds scene, presenter (`scarnet.panel`, the one of the
Slicer module) and editor, `page` shows them.
"""

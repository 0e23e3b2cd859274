"""The look of the HTML table, in light and in dark.

Colours follow the page around a fragment: text and lines are made from its own
text colour; only the few accents differ, by the system's theme, and by JupyterLab's
and VS Code's own where they say which.
"""

from __future__ import annotations

_LIGHT = (
    "--st-fill:#9dbbe8;--st-own:#2f6fd0;--st-bad:#b3261e;--st-odd:#8a4b00;"
    "--st-note:#5f6368"
)
_DARK = (
    "--st-fill:#35507a;--st-own:#7fb0ff;--st-bad:#ff8a80;--st-odd:#ffb74d;"
    "--st-note:#a8adb4"
)

STYLE = f"""
.shapetrace{{{_LIGHT};--st-line:rgba(128,128,128,.28);
color:var(--jp-content-font-color1,var(--vscode-editor-foreground,inherit));
font:13px/1.5 system-ui,sans-serif;text-align:left}}
@media (prefers-color-scheme:dark){{.shapetrace{{{_DARK}}}}}
[data-jp-theme-light="true"] .shapetrace,.vscode-light .shapetrace{{{_LIGHT}}}
[data-jp-theme-light="false"] .shapetrace,.vscode-dark .shapetrace,
html[theme=dark] .shapetrace{{{_DARK}}}
.shapetrace p{{margin:.5em 0}}
.shapetrace .st-scroll{{overflow-x:auto}}
.shapetrace .st-table{{font-variant-numeric:tabular-nums}}
.shapetrace .st-row{{display:grid;grid-template-columns:var(--st-columns);
column-gap:1.2em;align-items:center;padding:1px 6px;
border-bottom:1px solid var(--st-line);list-style:none;white-space:nowrap}}
.shapetrace .st-row>span{{overflow:hidden;text-overflow:ellipsis}}
.shapetrace .st-head{{font-weight:600;border-bottom-width:2px}}
.shapetrace summary{{cursor:pointer}}
.shapetrace summary::-webkit-details-marker{{display:none}}
.shapetrace .st-row:hover{{background:rgba(128,128,128,.12)}}
.shapetrace .st-name{{padding-left:calc(var(--st-depth)*1.2em + 1.2em)}}
.shapetrace summary .st-name::before{{content:"▸";display:inline-block;
width:1.2em;margin-left:-1.2em}}
.shapetrace details[open]>summary .st-name::before{{content:"▾"}}
.shapetrace .st-number{{text-align:right}}
.shapetrace .st-bar{{display:block;position:relative;height:.75em}}
.shapetrace .st-bar i,.shapetrace .st-bar b{{position:absolute;left:0;top:0;
height:100%;border-radius:2px;background:var(--st-fill)}}
.shapetrace .st-bar b{{background:var(--st-own)}}
.shapetrace .st-more,.shapetrace .st-recomputed{{color:var(--st-note)}}
.shapetrace .st-function,.shapetrace .st-pattern{{font-style:italic}}
.shapetrace .st-failed{{color:var(--st-bad);font-weight:600;
box-shadow:inset 3px 0 var(--st-bad)}}
.shapetrace .st-culprit,.shapetrace .st-warned{{color:var(--st-odd);font-weight:600;
box-shadow:inset 3px 0 var(--st-odd)}}
.shapetrace .st-finding{{margin:.5em 0;padding:.3em .8em;
border-left:3px solid var(--st-note)}}
.shapetrace .st-finding.st-error{{border-color:var(--st-bad)}}
.shapetrace .st-finding.st-warning{{border-color:var(--st-odd)}}
.shapetrace .st-finding pre{{margin:.4em 0;white-space:pre-wrap;
font:12px/1.4 ui-monospace,monospace;background:none;color:inherit}}
.shapetrace .st-totals,.shapetrace .st-remarks{{color:var(--st-note)}}
.shapetrace .st-remarks{{margin:.3em 0;padding-left:1.4em}}
"""

PAGE_STYLE = """
:root{color-scheme:light dark}
body{margin:1.5em;background:#fff;color:#1f2328}
@media (prefers-color-scheme:dark){body{background:#16181c;color:#e3e5e8}}
"""

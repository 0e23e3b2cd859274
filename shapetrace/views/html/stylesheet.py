"""The look, in light and in dark.

Colours follow the page around a fragment: text and lines are made from its own text
colour; only the few accents differ, by the system's theme, and by JupyterLab's, VS
Code's and Colab's own where they say which.
"""

from __future__ import annotations

_LIGHT = (
    "--st-fill:#c9dbf5;--st-own:#8fb3ea;--st-bad:#b3261e;--st-odd:#8a4b00;"
    "--st-note:#5f6368;--st-mark:#ffd9d6;--st-good:#1a7f37;--st-back:#fff;"
    "--st-text:#1f2328"
)
_DARK = (
    "--st-fill:#26364f;--st-own:#35598f;--st-bad:#ff8a80;--st-odd:#ffb74d;"
    "--st-note:#a8adb4;--st-mark:#6b211c;--st-good:#57c26e;--st-back:#16181c;"
    "--st-text:#e3e5e8"
)

#: a fragment's own rules are stronger than those of the page around it: JupyterLab and
#: nbconvert align all cells of a table to the right, by `:not(…).jp-…HTMLCommon td`
_INSIDE = ".shapetrace:not(#_) "

STYLE = f"""
.shapetrace{{{_LIGHT};--st-line:rgba(128,128,128,.28);
--st-ground:var(--jp-layout-color0,var(--vscode-editor-background,
var(--colab-primary-surface-color,var(--st-back))));
color:var(--jp-content-font-color1,var(--vscode-editor-foreground,
var(--colab-primary-text-color,var(--st-text))));
background:var(--st-ground);font:13px/1.5 system-ui,sans-serif;text-align:left}}
@media (prefers-color-scheme:dark){{.shapetrace{{{_DARK}}}}}
[data-jp-theme-light="true"] .shapetrace,.vscode-light .shapetrace{{{_LIGHT}}}
[data-jp-theme-light="false"] .shapetrace,.vscode-dark .shapetrace,
.vscode-high-contrast .shapetrace,html[theme=dark] .shapetrace{{{_DARK}}}
.vscode-high-contrast-light .shapetrace{{{_LIGHT}}}
.shapetrace p{{margin:.5em 0}}
.shapetrace h4{{margin:.9em 0 .2em;font-size:13px;font-weight:600}}
.shapetrace table{{border-collapse:collapse;margin:0;font-size:13px;color:inherit;
border:0;table-layout:auto}}
.shapetrace td,.shapetrace th{{padding:1px .6em;text-align:left;border:0;
vertical-align:top;background:none;font-weight:normal;white-space:normal}}
.shapetrace tr,.shapetrace tr:nth-child(even){{background:none}}
.shapetrace code,.shapetrace pre{{font:12px/1.45 ui-monospace,monospace;
background:none;color:inherit;padding:0;border:0;word-break:normal}}
.shapetrace mark{{background:var(--st-mark);color:var(--st-bad);font-weight:700;
padding:0 .15em;border-radius:2px}}
.shapetrace a{{color:inherit;text-decoration:underline}}
.shapetrace .st-scroll{{overflow:auto;max-height:85vh;margin:.6em 0;
container-type:inline-size}}
.shapetrace .st-table{{font-variant-numeric:tabular-nums;min-width:100%}}
.shapetrace .st-table td,.shapetrace .st-table th{{white-space:nowrap;
padding:1px .45em;font-size:12.5px;
border-bottom:1px solid var(--st-line);background:var(--st-ground)}}
.shapetrace .st-table thead th{{position:sticky;top:0;z-index:2;font-weight:600;
border-bottom:2px solid var(--st-line)}}
.shapetrace .st-table th:first-child{{position:sticky;left:0;z-index:1;
white-space:normal;overflow-wrap:anywhere;min-width:min(9em,32vw);
padding-left:calc(var(--st-depth,0)*min(1.2em,2vw) + 1.6em)}}
.shapetrace .st-table thead th:first-child{{z-index:3}}
.shapetrace .st-table label{{cursor:pointer;display:block;margin:0}}
.shapetrace .st-table input{{position:absolute;opacity:0;margin:0}}
.shapetrace .st-table label::before{{content:"▸";display:inline-block;width:1.2em;
margin-left:-1.2em}}
.shapetrace .st-table label:has(:checked)::before{{content:"▾"}}
.shapetrace .st-table label:has(:focus-visible){{outline:1px solid}}
.shapetrace .st-table tbody tr:hover td,
.shapetrace .st-table tbody tr:target td{{background:var(--st-fill)}}
.shapetrace .st-table tr:target th{{outline:2px solid var(--st-odd)}}
@container (max-width:1080px){{.shapetrace .st-table td,.shapetrace .st-table th{{
padding:1px .3em;font-size:12px}}
.shapetrace .st-table:not(.st-long) .st-shape{{white-space:normal;min-width:6.5em}}}}
.shapetrace .st-number,.shapetrace .st-table thead .st-number{{text-align:right;
white-space:nowrap}}
.shapetrace .st-table .st-shape b{{font-weight:700}}
.shapetrace .st-table .st-bar{{background:linear-gradient(90deg,var(--st-own)
var(--st-part,0%),var(--st-fill) var(--st-part,0%) var(--st-total,0%),
transparent var(--st-total,0%)),var(--st-ground)}}
.shapetrace .st-table .st-words{{white-space:normal;min-width:5em}}
.shapetrace .st-more th,.shapetrace .st-more td,
.shapetrace .st-recomputed th,.shapetrace .st-recomputed td{{color:var(--st-note)}}
.shapetrace .st-function th,.shapetrace .st-pattern th{{font-style:italic}}
.shapetrace .st-failed th,.shapetrace .st-failed td{{color:var(--st-bad);
font-weight:600}}
.shapetrace .st-failed th:first-child{{box-shadow:inset 3px 0 var(--st-bad)}}
.shapetrace .st-culprit th,.shapetrace .st-culprit td,
.shapetrace .st-warned th{{color:var(--st-odd);font-weight:600}}
.shapetrace .st-culprit th:first-child,.shapetrace .st-warned th:first-child{{
box-shadow:inset 3px 0 var(--st-odd)}}
.shapetrace .st-finding{{margin:.6em 0;padding:.3em .9em .6em;
border-left:3px solid var(--st-note);background:none}}
.shapetrace .st-finding.st-error{{border-color:var(--st-bad)}}
.shapetrace .st-finding.st-warning{{border-color:var(--st-odd)}}
.shapetrace .st-badge{{text-transform:uppercase;font-size:11px;
letter-spacing:.04em;color:var(--st-note)}}
.shapetrace .st-error .st-badge{{color:var(--st-bad)}}
.shapetrace .st-warning .st-badge{{color:var(--st-odd)}}
.shapetrace .st-message{{font-size:14px;font-weight:600;overflow-wrap:anywhere}}
.shapetrace .st-excerpt{{white-space:pre-wrap;overflow-wrap:anywhere;margin:.5em 0}}
.shapetrace .st-excerpt u{{text-decoration:underline 2px var(--st-bad);
text-underline-offset:3px}}
.shapetrace .st-message code{{font-size:13px;font-weight:700}}
.shapetrace .st-fixes td,.shapetrace .st-culprits td,.shapetrace .st-steps td{{
padding-left:0;padding-right:1.2em;overflow-wrap:break-word}}
.shapetrace small{{color:var(--st-note);white-space:nowrap}}
.shapetrace .st-code{{position:relative}}
.shapetrace .st-code pre{{display:inline-block;margin:0 0 .4em;padding:.25em .6em;
white-space:pre-wrap;overflow-wrap:anywhere;border:1px solid var(--st-line);
border-radius:4px}}
.shapetrace del{{color:var(--st-note)}}
.shapetrace ins{{color:var(--st-good);text-decoration:none;font-weight:600}}
.shapetrace .st-status{{color:var(--st-note)}}
.shapetrace .st-verified{{color:var(--st-good);font-weight:600}}
.shapetrace .st-copy{{margin-left:.5em;font:11px system-ui,sans-serif;cursor:pointer}}
.shapetrace .st-text{{margin:.3em 0;color:var(--st-note)}}
.shapetrace h5{{margin:.8em 0 .2em;font-size:12px}}
.shapetrace summary{{cursor:pointer}}
.shapetrace .st-text pre{{margin:.4em 0;white-space:pre-wrap}}
.shapetrace .st-picture{{overflow-x:auto}}
.shapetrace svg text{{fill:currentColor;font:12px system-ui,sans-serif}}
.shapetrace .st-box rect{{fill:none;stroke:var(--st-note)}}
.shapetrace .st-box text{{text-anchor:middle;font-weight:600}}
.shapetrace .st-box .st-small{{font-weight:400;font-size:11px}}
.shapetrace .st-guess rect{{stroke-dasharray:4 3}}
.shapetrace .st-box .st-odd{{fill:var(--st-bad);font-weight:700}}
.shapetrace .st-edge{{fill:none;stroke:var(--st-note)}}
.shapetrace .st-charts{{display:flex;flex-wrap:wrap;gap:2em;margin:1em 0}}
.shapetrace figure{{margin:0;max-width:100%}}
.shapetrace figure svg{{max-width:100%;height:auto}}
@media (max-width:600px){{.shapetrace .st-fixes td{{display:block;padding-right:0}}
.shapetrace .st-fixes td:last-child{{padding-bottom:.8em}}}}
.shapetrace figcaption{{font-weight:600;margin-bottom:.3em}}
.shapetrace svg .st-right{{text-anchor:end}}
.shapetrace rect.st-own{{fill:var(--st-own)}}
.shapetrace polygon.st-fill{{fill:var(--st-fill);stroke:var(--st-own)}}
.shapetrace .st-totals,.shapetrace .st-remarks{{color:var(--st-note)}}
.shapetrace .st-remarks{{margin:.3em 0;padding-left:1.4em}}
""".replace(".shapetrace ", _INSIDE)

PAGE_STYLE = """
:root{color-scheme:light dark}
body{margin:1.2em;background:#fff;color:#1f2328}
@media (prefers-color-scheme:dark){body{background:#16181c;color:#e3e5e8}}
@media (max-width:600px){body{margin:.5em}}
.shapetrace .st-long,.shapetrace .st-long thead,.shapetrace .st-long tbody{
display:block}
.shapetrace .st-long thead{position:sticky;top:0;z-index:3}
.shapetrace .st-long tr{display:grid;grid-template-columns:var(--st-columns);
min-width:var(--st-width)}
.shapetrace .st-long th:first-child{min-width:0}
.shapetrace .st-long tr[hidden]{display:none}
.shapetrace .st-long tbody tr{content-visibility:auto;
min-height:22px;contain-intrinsic-size:auto 22px}
""".replace(".shapetrace ", _INSIDE)

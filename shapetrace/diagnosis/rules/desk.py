"""What proposals are made with: a change, the line that makes it, and the place."""

from __future__ import annotations

import ast
import linecache
from dataclasses import dataclass, replace
from typing import Any

from shapetrace.diagnosis.detect import Mismatch
from shapetrace.diagnosis.edits import Edit
from shapetrace.diagnosis.hypothesis import Repair, Taken
from shapetrace.lineage import Graph
from shapetrace.lineage.loss_calls import sides
from shapetrace.records import (
    Culprit,
    FunctionCall,
    ModuleCall,
    ModuleInfo,
    Source,
    TensorRef,
)
from shapetrace.signatures import argument_name
from shapetrace.source.build_line import placed
from shapetrace.source.called import module_path
from shapetrace.source.constructor import changed, constructor
from shapetrace.source.line import Line, find, suffixed
from shapetrace.source.tree import is_own


@dataclass(frozen=True, slots=True)
class Candidate:
    """A line and what it would change. `about` is whom it corrects, spelled
    `module:fc1`, `function:view`, `target` or `input`; `repair` None: cannot be tried.
    `strong`: the sizes agree so exactly that it goes before the culprits' order."""

    line: str
    detail: str
    where: Source | None
    repair: Repair | None
    about: str
    strong: bool = False
    #: guesses of one such name: the first verified one is shown, the others are not
    once: str = ""
    #: what is known to fail next although the failing call goes through
    ahead: str = ""


def names_its_input(graph: Graph, module: ModuleCall, tensor: int) -> bool:
    """Whether the line of a module's call names its argument: inside an nn.Sequential
    the line is that of the Sequential's call, and names what that was given."""
    while module.parent is not None:
        above = graph.rec.calls[module.parent]
        if above.source != module.source:
            return True
        if all(ref.id != tensor for ref in above.inputs):
            return False
        module = above
    return True


@dataclass(frozen=True, slots=True)
class Desk:
    """One failure, and what all its proposals need of it."""

    graph: Graph
    problem: Mismatch
    culprits: tuple[Culprit, ...]

    def blames(self, *kinds: str) -> bool:
        """Whether the likeliest culprit is of one of these kinds."""
        return bool(self.culprits) and self.culprits[0].kind in kinds

    def about_data(self, tensor: int, *, target: bool = False) -> str:
        """Whom an edit of that tensor corrects."""
        made = self.graph.producer(tensor)
        if isinstance(made, FunctionCall) and made.direct and made.inputs:
            if any(c.kind == "function" and c.name == made.name for c in self.culprits):
                return f"function:{made.name}"
        if target:
            return "target"
        layer = None if made is None else self.graph.layer_of(made)
        return f"module:{layer.name}" if layer is not None else "input"

    # -- a tensor, where the failing call takes it ---------------------------------

    def edit(self, ref: TensorRef, edit: Edit, about: str) -> Candidate | None:
        """The failing call with one of its tensors edited."""
        call, layer = self.problem.call, self.problem.layer
        if layer is None:
            line = find(call.source)
            node = None if line is None else line.argument(ref.path, is_method(call))
            if node is None and line is not None:
                name = _name(call, ref)
                node = line.argument(f"kwargs['{name}']") if name else None
            span = (call.order, call.order)
            return self._edited(ref, edit, about, line, node, call.source, span)
        outer = self._written(layer, ref.id)
        if outer is None:
            return None
        return self._outer(outer, ref.id, edit, about)

    def _written(self, layer: ModuleCall, tensor: int) -> ModuleCall | None:
        """The call that the user wrote and that hands this tensor to a layer: itself,
        or a container around it whose input it is."""
        calls = self.graph.rec.calls
        found = layer
        while found.parent is not None:
            above = calls[found.parent]
            if above.source != found.source and is_own(found.source):
                break
            found = above
        return found if any(ref.id == tensor for ref in found.inputs) else None

    def root_edit(self, edit: Edit, about: str = "input") -> Candidate | None:
        """The model's first input edited, where the model is called."""
        top = self.problem.layer or self.graph.module_of(self.problem.call)
        while top is not None and top.parent is not None:
            top = self.graph.rec.calls[top.parent]
        top = top or self._model()
        if top is None or not top.inputs or top is self.problem.layer:
            return None
        return self._outer(top, top.inputs[0].id, edit, about)

    def _model(self) -> ModuleCall | None:
        """For a call outside of all modules: the model's call that came before it, when
        there was one only."""
        roots = [call for call in self.graph.rec.calls if call.parent is None]
        return roots[0] if len(roots) == 1 else None

    def model_input(self) -> TensorRef | None:
        """The first input of the one call of the model."""
        model = self._model()
        return model.inputs[0] if model is not None and model.inputs else None

    def _outer(
        self, module: ModuleCall, tensor: int, edit: Edit, about: str
    ) -> Candidate | None:
        ref = next(ref for ref in module.inputs if ref.id == tensor)
        line = find(module.source)
        node = None if line is None else line.argument(ref.path)
        if not names_its_input(self.graph, module, tensor):
            node = None
        span = (module.order, module.end_order)
        return self._edited(ref, edit, about, line, node, module.source, span)

    def _edited(
        self,
        ref: TensorRef,
        edit: Edit,
        about: str,
        line: Line | None,
        node: ast.expr | None,
        where: Source | None,
        span: tuple[int, int],
    ) -> Candidate | None:
        repair = Repair((Taken(ref.id, edit, *span),))
        if line is not None and node is not None:
            text = suffixed(line.text(node), node, _named(edit.text, line.source))
            return Candidate(
                line.with_part(node, text), edit.words, line.source, repair, about
            )
        name = self._role(ref)
        text = f"{name} = {suffixed(name, None, edit.text)}"
        words = edit.words
        if where is not None and is_own(where):
            words += f"; before {where}, by the name it has there"
        return Candidate(text, words, None, repair, about)

    def _role(self, ref: TensorRef) -> str:
        """What a tensor is called where the line that names it is not to be seen."""
        if not self.problem.loss:
            return "x"
        prediction, target = sides(self.graph, self.problem.call)
        if target is not None and target.id == ref.id:
            return "target"
        if prediction is not None and prediction.id == ref.id:
            return "prediction"
        return _name(self.problem.call, ref) or "x"

    # -- a module, where it is built -------------------------------------------------

    def rebuild(
        self, name: str, changes: dict[str, Any], words: str = ""
    ) -> Candidate | None:
        """A module built with other arguments."""
        info = self.graph.rec.modules.get(name)
        if info is None or not name:
            return None
        text = constructor(info, **changes)
        if text is None:
            return None
        if not words:
            key, value = next(iter(changes.items()))
            words = f"{key}={value} instead of {info.attributes.get(key)}"
        try:
            new = changed(info, **changes)
        except ValueError:
            return None
        return self.install(info, text, new, words)

    def install(
        self, info: ModuleInfo, text: str, new: ModuleInfo | None, words: str
    ) -> Candidate:
        """The line that puts `text` where the module is built."""
        repair = None if new is None else Repair(modules={info.name: new})
        about = f"module:{info.name}"
        line, place = placed(self.graph.rec, info, text)
        return Candidate(line, words, place, repair, about)

    def path(self, name: str) -> str:
        return module_path(self.graph.rec, name)

    # -- a function's call ------------------------------------------------------------

    def before(self, call: FunctionCall | ModuleCall, edit: Edit) -> Candidate | None:
        """A recorded call with its first tensor edited."""
        ref, layer = call.inputs[0], self.graph.layer_of(call)
        about = f"module:{layer.name}" if layer else f"function:{call.name}"
        if layer is not None:
            made = self._outer(layer, ref.id, edit, about)
        else:
            assert isinstance(call, FunctionCall)
            line = find(call.source)
            node = line.argument(ref.path, is_method(call)) if line else None
            span = (call.order, call.order)
            made = self._edited(ref, edit, about, line, node, call.source, span)
        return None if made is None else replace(made, strong=True)

    def after(self, call: FunctionCall, edit: Edit) -> Candidate | None:
        """A call of the user's with its result edited, for all that take it."""
        line = find(call.source)
        if line is None or not call.direct or not call.outputs:
            return None
        repair = Repair((Taken(call.outputs[0].id, edit),))
        text = line.around(suffixed(line.code, line.tree, edit.text))
        about = f"function:{call.name}"
        return Candidate(text, edit.words, line.source, repair, about)

    def recall(
        self, call: FunctionCall, new: FunctionCall, expression: str, words: str
    ) -> Candidate | None:
        """Another call in the place of a recorded one; `{}` stands for its object."""
        line = find(call.source)
        if line is None or not call.direct:
            return None
        node = line.argument("args[0]")
        if node is None:
            return None
        text = suffixed(line.text(node), node, expression)
        repair = Repair(calls={call.index: new})
        about = f"function:{call.name}"
        return Candidate(line.around(text), words, line.source, repair, about)


def _named(text: str, source: Source) -> str:
    """`F.interpolate(…)` by its full name in a file that does not import F."""
    if not text.startswith("F.") or " as F" in "".join(linecache.getlines(source.file)):
        return text
    return f"torch.nn.functional{text[1:]}"


def is_method(call: FunctionCall) -> bool:
    """Whether a tensor's method was called: its object is then the first argument."""
    return call.qualname.startswith("torch.Tensor.")


def _name(call: FunctionCall, ref: TensorRef) -> str | None:
    for position, other in enumerate(call.inputs):
        if other.path == ref.path:
            return argument_name(call, position)
    return None


def method(call: FunctionCall, name: str, *args: Any) -> FunctionCall:
    """The recorded call with another method of the same first tensor."""
    first = replace(call.inputs[0], path="args[0]")
    return replace(
        call,
        name=name,
        qualname=f"torch.Tensor.{name}",
        inputs=(first,),
        args=(first, *args),
        kwargs={},
    )

"""The user's code as text: where a call stands, where a module was built and a number
was written, and what a line to paste looks like.

    place         where the recorder puts a call: file, line, columns, notebook's cell
    tree          parsed files: the node at a place, the function around it
    scope         what names stand for: Expression, Scope
    frames        a recorded call as an Expression
    finder        Constructions(rec).of("fc1"): the call that built a module
    construction  Construction: its arguments, the statement with others
    integers      Stem: the constant, shape or value that an integer stems from
    sizes         how a size is written in the names of a scope
    called        what the script calls a root and its modules
    spoken        names of modules in a text, a root's as the script has it
    line          Line: a statement with one of its expressions exchanged
    rewrite       the same for several statements; a statement before or after
    names         torch's names as a file has them
    constructor   a constructor's text from what was recorded alone
"""

"""The nbgrader course: solutions/ is its source, exercises/ what students get. See CONTRIBUTING.md."""

from nbgrader.preprocessors import (
    AssignLatePenalties,
    CheckCellMetadata,
    ClearOutput,
    LimitOutput,
    OverwriteCells,
    OverwriteKernelspec,
    SaveAutoGrades,
)

from llama_mini.teach.autograde import Repair, RunTests

c = get_config()  # noqa: F821  (nbgrader puts it there)

c.CourseDirectory.course_id = "llama-mini"
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "exercises"

c.ClearSolutions.code_stub = {"python": "raise NotImplementedError"}
c.ClearSolutions.text_stub = "Your answer here."

c.Autograde.sanitize_preprocessors = [
    ClearOutput,
    Repair,
    OverwriteKernelspec,
    OverwriteCells,
    CheckCellMetadata,
]
c.Autograde.autograde_preprocessors = [
    RunTests,
    LimitOutput,
    SaveAutoGrades,
    AssignLatePenalties,
    CheckCellMetadata,
]

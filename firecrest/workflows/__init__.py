"""What happens over time: each kind of task, state by state.

A workflow module holds the steps of its kind (:mod:`firecrest.tasks.workflow`) and the
function that starts a task. It speaks of machines, schedulers and staging areas; the engine
beneath knows none of them.
"""

"""What each stage does: one module a stage, each with ``act(config, layout)``.

An action reads the artefacts of earlier stages and writes its own, and knows nothing else. Modules
are imported when their stage runs, so that a command loads no library that it does not need.
"""

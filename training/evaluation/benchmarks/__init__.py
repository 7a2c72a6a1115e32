"""Public benchmarks under one interface: a small file each reads its published files, makes its prompts and scores its answers.

base      item, reading, benchmark (values)      files      tables, videos, subtitles of a data directory
scoring   answers: strict and official (pure)    spans      a span of time from text or from evidence (pure)
registry  all benchmarks, and those absent       features   a video's memory, cached
running   offline: one answer an item            online     one pass, a question sees only what was before it
tasks     online: once, polled, or standing      proactive  what polls and standing questions found, and when (pure)
checking  what is missing, before a run           evaluation  one run, from the files to results.json
asking    one prompt to one model                 processes  several GPUs
card      tables for people and the model card (pure)
lettering options by letter, and which letter a published answer means (pure)

A benchmark's own harness is often lenient: a letter anywhere in an answer counts. Every item has two scores, `official` as the harness
of its authors counts and `strict` as training.evaluation.choices does.
"""

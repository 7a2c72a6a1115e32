"""From recordings to instructions, as VideoMarathon (arXiv 2506.05332): captions, questions, checks, and JSON that `train` takes.

tasks                 the 22 tasks with their definitions
config                what a run is told
rows                  values that the stages hand on
models                requests, endpoints, kept answers, repair and retries
worlds                the synthetic world as exact (or faulty) captioner and writer, and as judge
checks                what is wrong with a question
stages                videos -> clips -> captions -> events -> questions -> what captioners agree on -> checks -> JSON
ray_flow, vllm_flow   the same stages by workers of Ray, and with models that vLLM runs
plan                  what a run will ask and cost, before it starts
"""

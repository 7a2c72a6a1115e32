"""Makes the built-in model from the synthetic world only. `python -m afterview.training.tiny CONFIG --out DIR`.

words        the tokenizer
bank         rendered clips and backgrounds, partly through H.264
sight        vision tower and index encoder
stories      scripts whose frames come from the bank; questions about them
naming       words for what frames show
sentences    the decoder learns to answer
lessons      the curriculum, gated on accuracy
answers      how well answers are told: their loss, and which are right
study        MemAug and decoder
recipe       the configuration
make         all stages in order, resumable

needle_lessons, needle_bank, needle_stories, clue_cells, keeping, lettered: further lessons from the finished weights,
with the encoders as they are
"""

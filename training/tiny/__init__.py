"""How the shipped small Hour-LLaVA is made from nothing but the synthetic world. `python -m afterview.training.tiny CONFIG --out DIR`.

words     a tokenizer of the world's words            bank      rendered clips and backgrounds, through real H.264 in part
sight     vision tower and index encoder              stories   scripts whose frames come from the bank; questions about them
lessons   the curriculum, gated on accuracy           study     MemAug and decoder
recipe    the configuration of all of it              make      everything in order, resumable
"""

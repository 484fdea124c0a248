"""What the research code of Bai et al. (2023) leaves on disk, brought here: its samples and its encoders.

Facts of https://github.com/bailubin/MMGR: a region is a PNG, a tensor of one vector a POI and a tensor of edges, of the
same name in three folders; a checkpoint is the state dict of the image encoder, a torchvision ResNet under the prefix
`encoder.` whose `fc` is the projection head.
"""

"""Networks that recognise images by their visual feature and their predicted click feature, and the trainer."""

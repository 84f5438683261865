"""Networks that recognise images by their visual and their predicted click feature, and their trainer."""

"""Personal tag recommendation: what would this user call this picture, learned with an adversary on general tags.

Quintanilla, Rawat, Sakryukin, Shah and Kankanhalli, "Adversarial Learning for Personalized Tag Recommendation", IEEE
Transactions on Multimedia, 2020.
"""

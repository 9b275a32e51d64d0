"""
Networks for tables: ``portanet train``, ``portanet predict`` and ``portanet show``.

It needs pandas, scikit-learn and matplotlib: ``pip install 'portanet[table]'``.
"""

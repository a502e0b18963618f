"""How Sphinx turns the executed notebooks into the HTML report; `greenai_utils.report.html` calls it.

The report is read from a folder, often without a network: nothing in it may load anything from elsewhere.
"""

project = "Green AI training compendium"
author = "The Green AI training compendium authors"
language = "en"

extensions = ["myst_nb", "sphinx-mathjax-offline"]
nb_execution_mode = "off"  # the notebooks come executed
nb_ipywidgets_js = {}  # its defaults are loaded from a content delivery network
nb_merge_streams = True
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3

html_theme = "sphinx_book_theme"
html_title = project
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {
    "home_page_in_toc": True,
    "navbar_persistent": [],  # the side bar has the search box
    "use_download_button": False,
    "use_fullscreen_button": False,
}

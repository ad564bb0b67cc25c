"""A static page that runs exported files in a browser: `write_site`; the page itself is data,
in the folder `page`."""

from camport.web.engine import from_folder, from_npm
from camport.web.site import PAGE, write_site

__all__ = ["PAGE", "from_folder", "from_npm", "write_site"]

"""Pictures of maps: colours, overlays, labelled figures, and files that appear whole or not at all.

Takes arrays, gives PIL images; needs numpy and Pillow only.
"""

from camport.files import write_atomic as write_atomic
from camport.view.animation import save_animation as save_animation
from camport.view.boxes import Box as Box
from camport.view.boxes import draw_boxes as draw_boxes
from camport.view.channels import channel_grid as channel_grid
from camport.view.colormaps import COLORMAPS as COLORMAPS
from camport.view.colormaps import apply_colormap as apply_colormap
from camport.view.colormaps import colormap_table as colormap_table
from camport.view.colormaps import signed_to_unit as signed_to_unit
from camport.view.figure import figure as figure
from camport.view.gradient import GRADIENT_VIEWS as GRADIENT_VIEWS
from camport.view.gradient import GradientView as GradientView
from camport.view.gradient import gradient_picture as gradient_picture
from camport.view.gradient import pictured as pictured
from camport.view.grid import Cell as Cell
from camport.view.grid import grid as grid
from camport.view.layers import layer_grid as layer_grid
from camport.view.map_grid import map_grid as map_grid
from camport.view.overlay import overlay as overlay
from camport.view.report import save_report as save_report
from camport.view.save import check_writable as check_writable
from camport.view.save import save_arrays as save_arrays
from camport.view.save import save_image as save_image
from camport.view.shown import Map as Map
from camport.view.shown import Shown as Shown
from camport.view.words import word_grid as word_grid

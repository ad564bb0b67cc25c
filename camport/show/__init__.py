"""`camport demo`: what is shown on the scenes and photographs of `camport.demo`,
from a picture to the edge."""

"""Where images come from: archives and searches, and the folder that what they give is kept in."""

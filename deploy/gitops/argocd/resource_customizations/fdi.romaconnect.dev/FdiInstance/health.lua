-- The kind follows kstatus: status.observedGeneration starts at -1, Reconciling and Stalled exist
-- only while True. There is no health "Suspended": sync waves go on only when a resource is
-- Healthy, so a suspended instance would hang the sync, and the commit that ends the suspension
-- would never be applied. The message says that it is suspended.
local function condition(kind)
  if obj.status == nil or obj.status.conditions == nil then
    return nil
  end
  for _, found in ipairs(obj.status.conditions) do
    if found.type == kind then
      return found
    end
  end
  return nil
end

local function health(status, found, otherwise)
  local message = otherwise
  if found ~= nil and found.message ~= nil and found.message ~= "" then
    message = found.message
  end
  return { status = status, message = message }
end

local ready = condition("Ready")

if obj.metadata.deletionTimestamp ~= nil then
  return health("Progressing", ready, "Pending deletion")
end

local current = obj.status ~= nil and obj.status.observedGeneration == obj.metadata.generation

if not current then
  return { status = "Progressing", message = "Waiting for the operator to observe this generation" }
end

local stalled = condition("Stalled")
if stalled ~= nil and stalled.status == "True" then
  return health("Degraded", stalled, "Stalled")
end

local reconciling = condition("Reconciling")
if reconciling ~= nil and reconciling.status == "True" then
  return health("Progressing", reconciling, "Reconciling")
end

if ready ~= nil and ready.status == "True" then
  return health("Healthy", ready, "Ready")
end

return health("Progressing", ready, "Waiting for the operator")
